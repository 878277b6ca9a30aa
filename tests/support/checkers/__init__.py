"""Checkers: pure functions that take the records of runs and return every broken promise.

`logs.check` checks a run's log, `outcomes.check` its outcome, `queue.check` the queue. They know the contract and
Kubernetes, but none of the launcher's code. `printer` is the pipeline whose lines can be checked; `watching` records
what Kubernetes does.
"""
