"""Stores of runs and logs: the archive (files, the source of truth), Redis (the tail) and MongoDB (the history)."""
