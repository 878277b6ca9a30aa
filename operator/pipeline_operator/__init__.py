"""The operator: admits Jobs, reconciles each run, follows its pod's log; kopf watches the cluster for it.

It reads from a cache of the cluster that events keep up to date, and decides in pure functions.
"""
