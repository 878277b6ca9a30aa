"""The path of a log: from a source (`pump`) to the archive (`sink`), the tail (`publisher`) and viewers (`feed`)."""
