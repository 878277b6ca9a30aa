"""Screenshots of each page for the documentation."""
