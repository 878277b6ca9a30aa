"""Slipway's launcher: the REST service, the CLI and all domain logic.

`domain` defines runs, the queue, log lines and outcomes, without input or output. `stores` stores them, `engines`
execute runs, and `api` serves HTTP. The operator imports from here; nothing here imports the operator.
"""
