"""Outages with queued and running runs: afterwards logs, outcomes and the queue are correct."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from checkers.collecting import check_log, check_outcome
from checkers.findings import report
from checkers.printing import command as printer
from checkers.queue import QueuedRun, QueueHistory, check
from cluster.cluster import Cluster
from cluster.runs import recorded, until
from cluster.viewers import Viewer
from launching.installation import Installation
from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer

LINES = 1200
RUNS = 4
SLOTS = 2
APISERVER_DOWN_SECONDS = 60
PIPELINES: dict[str, dict[str, Any]] = {"printer": {"command": printer(LINES, rate=200), "artifacts": {}}}
Fault = Callable[[Installation], None]


@pytest.fixture(scope="module")
def site(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, mongodb_server: MongodbServer
) -> Iterator[Installation]:
    redis_server.revive()
    mongodb_server.revive()
    with (
        MongoClient[dict[str, Any]](mongodb_server.url) as client,
        Installation(
            cluster,
            tmp_path_factory.mktemp("outages"),
            PIPELINES,
            slots=SLOTS,
            REDIS_URL=redis_server.url,
            MONGODB_URI=mongodb_server.url,
            CANNOT_START_GRACE_SECONDS="5",  # shorter than every outage: time without a cluster does not count
        ) as running,
    ):
        client["jobs"]["level-2"].delete_many({})
        yield running


@pytest.fixture
def faults(redis_server: RedisServer, mongodb_server: MongodbServer) -> dict[str, Fault]:
    def operator(site: Installation) -> None:
        site.operator.kill()
        site.operator.start()

    def launcher(site: Installation) -> None:
        site.launcher.kill()
        site.launcher.start()

    def redis(site: Installation, *, keep_data: bool) -> None:
        redis_server.kill()
        redis_server.start(keep_data=keep_data)

    def mongodb(site: Installation) -> None:
        mongodb_server.kill()
        until(lambda: site.launcher.client.get("/health").json()["mongodb"] == "away")
        mongodb_server.start()

    def apiserver(site: Installation) -> None:
        """Stop it for a minute: calls that need it fail with Retry-After, reads and streams keep working."""
        with site.cluster.without("apiserver"):
            end = time.monotonic() + APISERVER_DOWN_SECONDS
            answer = site.launcher.client.post("/jobs/run", json={"job_id": "1", "pipeline": "printer"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), answer.text
            health = site.launcher.client.get("/health").json()
            assert (health["status"], health["kubernetes"]) == ("degraded", "away")
            until(lambda: time.monotonic() > end, APISERVER_DOWN_SECONDS + 5)

    def apiserver_thrice(site: Installation) -> None:
        for _ in range(3):
            with site.cluster.without("apiserver"):
                until(lambda: site.launcher.client.get("/health").json()["kubernetes"] == "away")

    def all_at_once(site: Installation) -> None:
        site.operator.kill()
        site.launcher.kill()
        redis_server.kill()
        mongodb_server.kill()
        mongodb_server.start()
        redis_server.start(keep_data=False)
        site.launcher.start()
        site.operator.start()

    return {
        "operator": operator,
        "launcher": launcher,
        "redis": partial(redis, keep_data=True),
        "redis and its data": partial(redis, keep_data=False),
        "mongodb": mongodb,
        "apiserver": apiserver,
        "apiserver thrice": apiserver_thrice,
        "all at once": all_at_once,
    }


@pytest.mark.parametrize(
    "name",
    [
        "operator", "launcher", "redis", "redis and its data", "mongodb", "all at once",
        *(pytest.param(name, marks=pytest.mark.disruptive) for name in ("apiserver", "apiserver thrice")),
    ],
)  # fmt: skip
def test_queued_and_running_runs_survive_an_outage(
    site: Installation, faults: dict[str, Fault], name: str, mongodb_server: MongodbServer
) -> None:
    if name.startswith("apiserver") and not site.cluster.can_control:
        pytest.skip("This cluster's API server is not ours to stop.")
    launcher = site.launcher
    runs: list[QueuedRun] = []
    with site.watcher() as watcher:
        for n in range(RUNS):
            with MongoClient[dict[str, Any]](mongodb_server.url) as client:
                client["jobs"]["level-2"].insert_one({"jobId": f"{name}-{n}"})
            run_id = launcher.run(f"{name}-{n}", pipeline="printer")["run_id"]
            runs.append(QueuedRun(run_id=run_id, queued_at=n, queued=time.time()))
        viewers = [Viewer(site.launcher, run.run_id) for run in runs]
        for viewer in viewers:
            viewer.start()
        until(lambda: len(launcher.log(runs[0].run_id).splitlines()) > LINES // 10)
        faults[name](site)
        for run in runs:
            finished = launcher.wait(run.run_id, seconds=180)
            assert (finished["status"], finished["exit_code"]) == ("completed", 0), finished
        until(lambda: all(recorded(site, run.run_id) for run in runs), 120)
        until(lambda: launcher.client.get("/health").json()["status"] == "healthy")
        findings = check(QueueHistory(limit=SLOTS, runs=runs, holes_allowed=True, **vars(watcher.watched())))
        for run, viewer in zip(runs, viewers, strict=True):
            viewer.join(60)
            assert viewer.ended, f"{run.run_id}: the viewer received no end event"
            streams = [viewer.events, launcher.events(run.run_id)]
            findings += check_log(site, run.run_id, LINES, streams=streams, width=120)
            findings += check_outcome(site, run.run_id)
    assert not findings, report(findings)


def test_operator_stops_cleanly_and_completes_the_log_after_a_restart(cluster: Cluster, tmp_path: Path) -> None:
    with Installation(cluster, tmp_path, PIPELINES) as alone:
        run_id = alone.launcher.run("1", pipeline="printer")["run_id"]
        until(lambda: len(alone.launcher.log(run_id).splitlines()) > 10)
        assert alone.launcher.client.get("/jobs/no-such-run/status").status_code == 404
        assert alone.operator.stop() == 0
        alone.operator.start()
        assert alone.launcher.wait(run_id)["log"]["complete"]
