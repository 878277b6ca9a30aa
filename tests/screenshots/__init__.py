"""Pictures of each page, for the documentation."""
