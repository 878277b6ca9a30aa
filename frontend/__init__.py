"""The web front end: what people see of their runs."""
