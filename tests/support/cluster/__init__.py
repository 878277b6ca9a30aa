"""A real Kubernetes for the tests.

`install` installs what it needs, `up` and `down` start and stop it, tests use it and break it through `Cluster`, and
`fixtures` provides it to pytest. They know nothing of Slipway except how its images are built. `runs`, `verifier`,
`scenario` and `viewers` are shared by the tests that run Slipway on it.
"""
