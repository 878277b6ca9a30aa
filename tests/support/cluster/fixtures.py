"""The cluster as a pytest fixture.

Without a cluster, tests fail rather than skip, so that a green run has always used a real Kubernetes. Only
`CLUSTER=none` skips them.
"""

import os
from collections.abc import Iterator

import pytest

from cluster.cluster import Cluster, ClusterError

__all__ = ["cluster"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Kubernetes with this checkout's images. A test must restart what it stops: see `Cluster.without`."""
    if os.environ.get("CLUSTER") == "none":
        pytest.skip("CLUSTER=none skips tests that need Kubernetes.")
    try:
        taken = Cluster.take()
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)
    yield taken
    taken.release()
