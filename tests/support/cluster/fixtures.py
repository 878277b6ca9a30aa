"""The cluster as a pytest fixture.

Where a cluster cannot be had, tests fail rather than skip: a green run has talked to a real Kubernetes. Only
`CLUSTER=none` leaves them out.
"""

import os
from collections.abc import Iterator

import pytest

from cluster.cluster import Cluster, ClusterError

__all__ = ["cluster"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Kubernetes, with this checkout's images loaded. What a test stops it starts again: see `Cluster.without`."""
    if os.environ.get("CLUSTER") == "none":
        pytest.skip("CLUSTER=none leaves out what needs Kubernetes.")
    try:
        taken = Cluster.take()
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)
    yield taken
    taken.release()
