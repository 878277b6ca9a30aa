"""What the operator does, without kopf: admission, supervision of each run, log pumps, reconciliation.

It reads from a picture of the cluster that events keep up to date, decides by pure functions, and writes little.
"""
