"""Pipelines for the cluster tests, and helpers for their runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkers.printing import command as printer
from cluster.namespace import InNamespace
from launching.installation import Installation

PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"command": ["sh", "-c", "echo hello"], "artifacts": {}},
    "three-seconds": {"command": ["sleep", "3"], "artifacts": {}},
    "held": {"command": ["sh", "-c", "echo up; while [ ! -e $APPLICATIONS_DIR/go ]; do sleep 0.1; done; echo done"]},
    "stubborn": {"command": ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"]},
    "exit-3": {"command": ["sh", "-c", "echo failing; exit 3"]},
    "printer-500": {"command": printer(7500, rate=500), "artifacts": {}},
}


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)


def finish_held_run(installation: Installation, run_id: str) -> None:
    """Let a `held` run finish."""
    folder: Path = installation.data / "applications" / run_id
    (folder / "go").touch()


def recorded(installation: InNamespace, run_id: str) -> bool:
    """Whether the operator has recorded the run's outcome on its Job, or the Job is deleted."""
    job = installation.job(run_id)
    return job is None or job["metadata"]["labels"].get("slipway.dev/phase") == "recorded"
