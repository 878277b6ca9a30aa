"""The operator: admits Jobs, reconciles each run and follows its pod's log.

kopf watches the cluster and updates a cache. The operator reads from the cache, and decides in pure functions.
"""
