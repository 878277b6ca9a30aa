"""Engines make runs happen. Each keeps the same promises with the same domain."""
