"""The HTTP side: REST, SSE, sign-in, limits, problem details. Uses engines only through their port."""
