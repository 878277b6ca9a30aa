"""The operator: kopf's handlers and their wiring. What they do is `launcher.controller`."""
