"""A real Kubernetes for the tests.

`install` brings what it needs onto the machine, `up` and `down` start and end it, `Cluster` is how a test uses it and
how it breaks it, `fixtures` hands it to pytest. They know nothing of Slipway except how its images are built. `runs`,
`ends`, `scenario` and `viewers` are what the tests of Slipway on it share.
"""
