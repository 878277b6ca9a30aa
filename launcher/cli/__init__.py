"""`slipway`, the command line: a client of the REST API like any other."""
