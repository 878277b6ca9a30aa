"""The queue on the cluster: within the limit, in order, no slot left idle because of the quota, few writes."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from checkers.collecting import check_outcome
from checkers.findings import report
from checkers.queue import QueuedRun, QueueHistory, Spread, check, idle_seconds
from checkers.watching import Watched
from cluster.runs import PIPELINES, finish_held_run, recorded, until
from launcher.domain.queue_places import PAUSED
from launching.installation import Installation

RUNS = 30
SLOTS = 3


def queued(run: dict[str, Any], priority: int = 0) -> QueuedRun:
    created_at = datetime.fromisoformat(run["created_at"])
    return QueuedRun(
        run_id=run["run_id"],
        priority=priority,
        queued_at=round(created_at.timestamp() * 1_000_000),
        queued=time.time(),
    )


def finished(watched: Watched, count: int) -> bool:
    return len({pod.run_id for pod in watched.pods if pod.phase in ("Succeeded", "Failed")}) == count


def test_thirty_runs_keep_the_limit_and_the_order_and_never_hit_the_quota(installation: Installation) -> None:
    launcher = installation.launcher
    with installation.watcher() as watcher:
        launcher.client.post("/queue/pause").raise_for_status()
        try:
            body = {"job_ids": [str(n) for n in range(RUNS - 5)], "pipeline": "hello"}
            answer = launcher.client.post("/jobs/run-bulk", json=body).raise_for_status().json()
            runs = [queued(item["run"]) for item in answer["runs"]]
            runs += [queued(launcher.run(f"urgent-{n}", pipeline="hello", priority=5), 5) for n in range(5)]
            assert launcher.client.get("/health").json()["paused"]
            until(lambda: launcher.client.get("/health").json()["queued"] == RUNS)
            # The operator orders the runs that it knows of, and learns of a new Job some milliseconds later.
            until(lambda: all((installation.data / "archive" / run.run_id / "run.json").exists() for run in runs))
            last = launcher.status(runs[RUNS - 6].run_id)["queue"]
            assert (last["position"], last["why"]) == (RUNS, PAUSED)
        finally:
            launcher.client.post("/queue/resume").raise_for_status()
        watched = watcher.wait_until(lambda watched: finished(watched, RUNS), 300)
    history = QueueHistory(limit=SLOTS, runs=runs, **vars(watched))
    findings = check(history)
    for run in runs:
        assert launcher.wait(run.run_id)["status"] == "completed"
        until(lambda: recorded(installation, run.run_id))  # noqa: B023 - called before the next iteration
        findings += check_outcome(installation, run.run_id)
    assert not findings, report(findings)
    print(f"idle slots: {Spread.of(idle_seconds(history))}")


def test_run_needs_three_writes_and_kopf_adds_none(installation: Installation) -> None:
    cluster = installation.cluster
    offset = cluster.audit_log.stat().st_size if cluster.can_control else None
    run_id = installation.launcher.run("writes", pipeline="hello")["run_id"]
    assert installation.launcher.wait(run_id)["status"] == "completed"
    until(lambda: recorded(installation, run_id))
    job = installation.job(run_id)
    assert job is not None
    assert not [name for name in job["metadata"].get("annotations", {}) if "kopf" in name]
    assert not [name for name in job["metadata"].get("finalizers", []) if "kopf" in name]
    events = installation.json("get", "events")["items"]
    assert not [event for event in events if "kopf" in event.get("reportingComponent", "")]
    if offset is not None:  # only the test cluster has an audit log
        from_slipway = [
            event
            for event in cluster.audit_events(offset)
            if event["objectRef"].get("namespace") == installation.namespace and "slipway-" in event["user"]["username"]
        ]
        writes = Counter((event["verb"], event["objectRef"]["resource"]) for event in from_slipway)
        del writes["patch", "leases"]  # the heartbeat does not depend on the number of runs
        assert writes == {("create", "jobs"): 1, ("patch", "jobs"): 2}


def test_paused_queue_survives_restarts_of_launcher_and_operator(installation: Installation) -> None:
    launcher, operator = installation.launcher, installation.operator
    launcher.client.post("/queue/pause").raise_for_status()
    try:
        operator.kill()
        launcher.kill()
        operator.start()
        launcher.start()
        assert launcher.client.get("/health").json()["paused"]
        run_id = launcher.run("1", pipeline="hello")["run_id"]
        with launcher.client.stream("GET", f"/jobs/{run_id}/logs") as stream:
            assert "paused" in next(line for line in stream.iter_lines() if line.startswith("data: "))
        job = installation.job(run_id)
        assert job is not None and job["spec"]["suspend"]
    finally:
        launcher.client.post("/queue/resume").raise_for_status()
    assert launcher.wait(run_id)["status"] == "completed"


def test_waiting_runs_show_their_places_and_run_when_slots_are_free(installation: Installation) -> None:
    launcher = installation.launcher
    held = [launcher.run(f"held-{n}", pipeline="held")["run_id"] for n in range(SLOTS)]
    for run_id in held:
        until(lambda: launcher.status(run_id)["status"] == "running")  # noqa: B023 - called before the next iteration
    waiting = [launcher.run(f"waiting-{n}", pipeline="hello")["run_id"] for n in range(2)]
    until(lambda: [(launcher.status(run_id)["queue"] or {}).get("position") for run_id in waiting] == [1, 2])
    assert (
        launcher.client.get("/health").json() | {"active_runs": 3, "queued": 2} == launcher.client.get("/health").json()
    )
    for run_id in held:
        finish_held_run(installation, run_id)
    assert [launcher.wait(run_id)["status"] for run_id in (*held, *waiting)] == ["completed"] * 5


def test_full_queue_refuses_with_429(cluster: Any, tmp_path: Path) -> None:
    with Installation(cluster, tmp_path, PIPELINES, MAX_QUEUED="2") as narrow:
        narrow.launcher.client.post("/queue/pause").raise_for_status()
        codes = [
            narrow.launcher.client.post("/jobs/run", json={"job_id": str(n), "pipeline": "hello"}).status_code
            for n in range(3)
        ]
        assert codes == [200, 200, 429]
