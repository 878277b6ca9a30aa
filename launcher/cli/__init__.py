"""`slipway`, the command line: a client of the REST API, as anybody else is."""
