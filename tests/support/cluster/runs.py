"""The pipelines of the cluster's tests, and what becomes of their runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkers.printing import command as printer
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


def let_go(installation: Installation, run_id: str) -> None:
    """Let a `held` run end."""
    folder: Path = installation.data / "applications" / run_id
    (folder / "go").touch()


def recorded(installation: Installation, run_id: str) -> bool:
    """Whether the operator has written the run's end onto its Job, or the Job is gone."""
    job = installation.job(run_id)
    return job is None or job["metadata"]["labels"].get("slipway.dev/phase") == "recorded"
