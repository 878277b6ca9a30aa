"""What a deep queue costs: launching, keeping and releasing its runs, against the same with ten runs."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from cluster.cluster import wait_until
from launching.installation import Installation
from tests.bench.row import Row

DEPTHS = 10, 2000
IDLE_SECONDS = 60.0  # a period of reconciliation
_PATIENCE_SECONDS = 300.0
_GOAL_MS, _GOAL_MB, _GOAL_PERCENT, _GOAL_TIMES = 2, 150, 2, 1.5
_SERVICES = ("launcher", "operator")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a queue of one depth, by service where they differ."""

    per_second: float
    """Runs that the launcher accepted in a second."""
    milliseconds: dict[str, float]
    """Processor time per queued run."""
    megabytes: dict[str, float]
    percent: dict[str, float]
    """Processor share while nothing changes."""
    known_seconds: float
    """From the request of a run with a higher priority until the operator knows it."""
    urgent_seconds: float
    """From resuming the queue to the start of that run."""


def queue(site: Installation, repeats: int) -> list[Row]:
    """Launch runs in bulk while the queue is paused, wait, then request an urgent run and resume the queue.

    Each depth has an installation of its own, so that its figures include nothing of the other one.
    """
    few, many = (_cost(site, depth) for depth in DEPTHS)
    at = f"at {DEPTHS[1]:,} queued"
    rows = [
        Row(name="bulk accepted", value=many.per_second, unit="runs/s", detail=f"{DEPTHS[1]:,} runs in one request")
    ]
    for service in _SERVICES:
        spent, idle = f"{service}, per queued run", f"{service}, nothing changes"
        rows += [
            Row(name=spent, value=many.milliseconds[service], unit="ms of CPU", detail=at, goal=_GOAL_MS),
            Row(name=f"{service}, memory", value=many.megabytes[service], unit="MB", detail=at, goal=_GOAL_MB),
            Row(name=idle, value=many.percent[service], unit="% of a core", detail=at, goal=_GOAL_PERCENT),
        ]
    for name, slow, quick in (
        ("an urgent run is known", many.known_seconds, few.known_seconds),
        ("an urgent run starts", many.urgent_seconds, few.urgent_seconds),
    ):
        times = f"{slow:.2f} s {at}, {quick:.2f} s at {DEPTHS[0]}"
        rows.append(Row(name=name, value=slow / quick, unit=f"x at {DEPTHS[0]}", detail=times, goal=_GOAL_TIMES))
    return rows


def _cost(site: Installation, depth: int) -> Cost:
    stores = {name: site.launcher.environment.get(name) for name in ("REDIS_URL", "MONGODB_URI")}
    bounds = {"MAX_QUEUED": str(2 * depth), "MAX_BULK_ITEMS": str(depth)}
    pipelines = {"hello": {"command": ["sh", "-c", "echo hello"], "artifacts": {}}}
    with (
        tempfile.TemporaryDirectory(prefix="slipway-bench-", ignore_cleanup_errors=True) as folder,
        Installation(site.cluster, Path(folder), pipelines, slots=site.slots, **stores, **bounds) as deep,
    ):
        client = deep.launcher.client
        client.post("/queue/pause").raise_for_status()
        before, began = _spent(deep), time.monotonic()
        body = {"job_ids": [str(n) for n in range(depth)], "pipeline": "hello"}
        answer = client.post("/jobs/run-bulk", json=body, timeout=_PATIENCE_SECONDS).raise_for_status().json()
        assert answer["accepted"] == depth, answer["runs"][-1]
        took = time.monotonic() - began
        _wait_for_records(deep, depth)
        wait_until(lambda: _settled(deep), _PATIENCE_SECONDS, "the Job controller to have seen all Jobs")
        filled = _spent(deep)
        time.sleep(IDLE_SECONDS)
        idle = _spent(deep)
        began = time.monotonic()
        urgent = deep.launcher.run("urgent", pipeline="hello", priority=100)["run_id"]
        _wait_for_records(deep, depth + 1)
        known, at = time.monotonic() - began, time.time()
        client.post("/queue/resume").raise_for_status()
        started_at = datetime.fromisoformat(deep.launcher.wait(urgent, _PATIENCE_SECONDS)["started_at"])
        return Cost(
            per_second=depth / took,
            milliseconds={name: 1000 * (filled[name] - before[name]) / depth for name in _SERVICES},
            megabytes={name: each.memory_info().rss / 1e6 for name, each in _processes(deep).items()},
            percent={name: 100 * (idle[name] - filled[name]) / IDLE_SECONDS for name in _SERVICES},
            known_seconds=known,
            urgent_seconds=started_at.timestamp() - at,
        )


def _settled(site: Installation) -> bool:
    """Return whether every Job has its condition. The Job controller writes 20 a second."""
    return all((job.get("status") or {}).get("conditions") for job in site.json("get", "jobs")["items"])


def _wait_for_records(site: Installation, count: int) -> None:
    """Wait until the operator has recorded all queued runs."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := len(list((site.data / "archive").glob("*/run.json")))) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {count} runs are recorded")
        time.sleep(0.02)


def _spent(site: Installation) -> dict[str, float]:
    """Return the processor seconds that each service has used."""
    return {name: sum(each.cpu_times()[:2]) for name, each in _processes(site).items()}


def _processes(site: Installation) -> dict[str, psutil.Process]:
    assert site.launcher.process is not None
    assert site.operator.process is not None
    return {
        "launcher": psutil.Process(site.launcher.process.pid),
        "operator": psutil.Process(site.operator.process.pid),
    }
