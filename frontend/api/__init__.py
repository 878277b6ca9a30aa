"""The API that browsers call."""
