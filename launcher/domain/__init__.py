"""What Slipway knows, free of input and output: runs, queue, log lines, reasons, names. Imports no adapter."""
