"""Starts the operator if the package is not installed: `python operator/main.py`."""

from pipeline_operator.main import main

main()
