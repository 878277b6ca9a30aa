"""Starts the operator where the distribution is not installed: `python operator/main.py`."""

from pipeline_operator.main import main

main()
