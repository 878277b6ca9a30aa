"""Slipway's launcher: the service that people call, and all domain logic.

`domain` knows runs, the queue, log lines and outcomes, and nothing of the outside; `stores` keeps them; `engines`
make runs happen; `api` answers HTTP. The operator imports from here; nothing here imports the operator.
"""
