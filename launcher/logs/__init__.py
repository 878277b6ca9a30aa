"""Logs on their way: from a source into the archive (`pump`), on to the tail (`publisher`), to viewers (`feed`)."""
