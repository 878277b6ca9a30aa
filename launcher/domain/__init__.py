"""The domain model, without input or output: runs, the queue, log lines, reasons, names. Imports no adapter."""
