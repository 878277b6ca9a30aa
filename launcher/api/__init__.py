"""The HTTP side: REST, SSE, sign-in, limits, problem details. Knows engines by their port alone."""
