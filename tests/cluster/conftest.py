"""Slipway installed on the tests' cluster, with real Redis and MongoDB beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.runs import PIPELINES
from cluster.sharing import Sharing
from launching.installation import Installation


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Sharing())


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    """An installation with three slots, for tests that leave it unchanged."""
    redis_server.revive()
    with Installation(cluster, tmp_path_factory.mktemp("slipway"), PIPELINES, REDIS_URL=redis_server.url) as running:
        yield running
