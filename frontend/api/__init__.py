"""What the browser calls."""
