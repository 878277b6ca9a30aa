"""Engines execute runs. All use the same domain code and give the same guarantees."""
