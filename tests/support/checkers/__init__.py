"""Checkers: pure functions over what was recorded of runs, which return every promise that was broken.

`logs.check` judges one run's log, `outcomes.check` one run's end, `queue.check` the queue. They know the contract and
Kubernetes, and nothing of the launcher's code. `printer` is the pipeline whose lines can be checked; `watching` records
what Kubernetes does.
"""
