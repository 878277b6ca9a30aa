"""Launcher, operator, front end and browser for tests to start, stop and kill, and a fake cluster."""
