"""Collects a run's records from an installation, in every store, for the checkers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import redis
from pymongo import MongoClient

from checkers import logs, outcomes
from checkers.findings import Finding
from checkers.log_history import LogHistory
from checkers.records import RunRecords
from launching.launcher import LauncherClient

Event = tuple[str, str, str]


class Checkable(Protocol):
    """An installation whose runs can be checked."""

    @property
    def launcher(self) -> LauncherClient:
        """Its launcher."""

    @property
    def data(self) -> Path:
        """The folder with its archive."""

    def job(self, run_id: str) -> dict[str, Any] | None:
        """Return a run's Job, or None."""

    def pods(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's pods."""


def tail_of(redis_url: str, run_id: str) -> list[tuple[int, bytes]]:
    """Return the lines of a run's log that Redis holds."""
    with redis.Redis.from_url(redis_url) as client:
        entries: Any = client.xrange(f"slipway:log:{run_id}")
    return [(int(name.split(b"-")[0]), fields[b"d"]) for name, fields in entries]


def check_log(
    installation: Checkable,
    run_id: str,
    expected: int | None,
    *,
    streams: list[list[Event]] | None = None,
    in_redis: bool = True,
    **options: Any,
) -> list[Finding]:
    """Check a run's log: the archive, Redis if it is used and should have the log, and what viewers received."""
    launcher = installation.launcher
    url = launcher.environment.get("REDIS_URL") if in_redis else None
    history = LogHistory(
        run_id=run_id,
        text=launcher.log(run_id),
        receipt=launcher.status(run_id)["log"],
        expected=expected,
        tail=tail_of(url, run_id) if url else None,
        tail_limit=int(launcher.environment.get("LOG_BUFFER_LIMIT", "500")) if url else None,
        streams=streams if streams is not None else [launcher.events(run_id)],
        **options,
    )
    return logs.check(history)


def check_outcome(installation: Checkable, run_id: str, **watched: Any) -> list[Finding]:
    """Check a run's outcome in every store; `watched` has objects that Kubernetes may have deleted."""
    environment = installation.launcher.environment
    archive = json.loads((installation.data / "archive" / run_id / "run.json").read_text())
    records: dict[str, Any] = {"redis": None, "pipeline_runs": None, "item": None}
    unused = {"level-2"}
    if url := environment.get("REDIS_URL"):
        with redis.Redis.from_url(url) as client:
            document: Any = client.hget(f"slipway:run:{run_id}", "document")
        records["redis"] = json.loads(document) if document else None
    else:
        unused.add("redis")
    if uri := environment.get("MONGODB_URI"):
        with MongoClient[dict[str, Any]](uri, tz_aware=True) as mongo:
            records["pipeline_runs"] = mongo["jobs"]["pipeline_runs"].find_one({"_id": run_id})
            records["item"] = mongo["jobs"]["level-2"].find_one({"pipeline_run_id": run_id})
        if records["item"] is not None:
            unused.discard("level-2")
    else:
        unused.add("pipeline_runs")
    job = watched.pop("job", None) or installation.job(run_id)
    pods = watched.pop("pods", None) or installation.pods(run_id)
    return outcomes.check(
        RunRecords(
            run_id=run_id,
            job=job,
            pods=pods,
            archive=archive,
            rest=installation.launcher.status(run_id),
            unused=frozenset(unused),
            **records,
            **watched,
        )
    )
