"""A real Kubernetes for the tests.

`install` brings what it needs onto the machine, `up` and `down` start and end it, `Cluster` is how a test uses it and
how it breaks it, `fixtures` hands it to pytest. Nothing here knows anything of Slipway but how its images are built.
"""
