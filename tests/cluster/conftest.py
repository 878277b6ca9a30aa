"""Slipway installed on the tests' cluster, with real Redis and MongoDB beside it, and the checkers' view of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checkers.printing import command as printer
from cluster.cluster import Cluster
from launching.installation import Installation

PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"command": ["sh", "-c", "echo hello"], "artifacts": {}},
    "three-seconds": {"command": ["sleep", "3"], "artifacts": {}},
    "held": {"command": ["sh", "-c", "echo up; while [ ! -e $APPLICATIONS_DIR/go ]; do sleep 0.1; done; echo done"]},
    "stubborn": {"command": ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"]},
    "exit-3": {"command": ["sh", "-c", "echo failing; exit 3"]},
    "printer-500": {"command": printer(7500, rate=500), "artifacts": {}},
}


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something, at most so long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    """An installation with three slots, for tests that leave it as it was."""
    redis_server.revive()
    with Installation(cluster, tmp_path_factory.mktemp("slipway"), PIPELINES, REDIS_URL=redis_server.url) as running:
        yield running


def let_go(installation: Installation, run_id: str) -> None:
    """Let a `held` run end."""
    folder: Path = installation.data / "applications" / run_id
    (folder / "go").touch()


def recorded(installation: Installation, run_id: str) -> bool:
    """Whether the operator has written the run's end onto its Job, or the Job is gone."""
    job = installation.job(run_id)
    return job is None or job["metadata"]["labels"].get("slipway.dev/phase") == "recorded"
