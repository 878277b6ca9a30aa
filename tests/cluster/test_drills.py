"""Drills: what happens to runs when the server fails, and what its administrator does then, with the scripts of k8s/.

One installation goes through all of them, in this order; the last one moves its data to another namespace.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from checkers.collecting import check_log, check_outcome
from checkers.findings import report
from checkers.printing import command as printer
from checkers.queue import QueuedRun, QueueHistory, check
from cluster.cluster import TESTS_IMAGE, Cluster
from cluster.runs import recorded, until
from cluster.viewers import Viewer
from launching.observed_server import ObservedServer

pytestmark = pytest.mark.disruptive
SLOTS = 2
LINES = {"slow": 100, "long": 1000, "quick": 20}
PIPELINES: dict[str, dict[str, Any]] = {
    # Few lines per second: containerd is stopped too, and a line that it is just writing is lost with it.
    "slow": {"command": printer(LINES["slow"], rate=4)},
    "long": {"command": printer(LINES["long"], rate=4)},
    "quick": {"command": printer(LINES["quick"], rate=100)},
}


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObservedServer]:
    if not cluster.can_control:
        pytest.skip("This cluster's node is not ours to restart.")
    server = ObservedServer(cluster, tmp_path_factory.mktemp("drills"))
    install(server)
    first = server.namespace
    yield server
    server.remove()
    cluster.kubectl("delete", "namespace", first, "--wait=false", "--ignore-not-found")


def install(server: ObservedServer) -> None:
    """Install Slipway in the server's namespace."""
    pipelines = {name: {"image": TESTS_IMAGE, "artifacts": {}, **each} for name, each in PIPELINES.items()}
    values = server.directory / "values.yaml"
    limits = {"queue": {"maxConcurrency": SLOTS}, "launcher": {"rateLimitPerMinute": 1_000_000}}
    values.write_text(json.dumps({"pipelines": pipelines, **limits}))
    try:
        server.install("--config", str(server.config), "--values", str(values))
        server.connect()
    except BaseException:
        server.remove()
        raise


@pytest.fixture(scope="module")
def finished() -> dict[str, int | None]:
    """The runs of the drills so far, and how many lines each printed; None: it was stopped."""
    return {}


@contextmanager
def runs(server: ObservedServer, finished: dict[str, int | None], *, active: str = "slow") -> Iterator[list[str]]:
    """Yield runs, of which the first two are active and two wait. Afterwards wait for all and check everything."""
    launcher = server.launcher
    with server.watcher() as watcher:
        launched: dict[str, QueuedRun] = {}
        for n, pipeline in enumerate([*[active] * SLOTS, "quick", "quick"]):
            run_id = launcher.run(str(n), pipeline=pipeline)["run_id"]
            launched[run_id] = QueuedRun(run_id=run_id, queued_at=n, queued=time.time())
        viewers = [Viewer(launcher, run_id) for run_id in launched]
        for viewer in viewers:
            viewer.start()
        names = list(launched)
        until(lambda: all(len(launcher.log(run_id).splitlines()) > 5 for run_id in names[:SLOTS]))
        yield names
        server.connect()
        ended = [launcher.wait(run_id, seconds=120) for run_id in names]
        until(lambda: all(recorded(server, run_id) for run_id in names))
        limits = QueueHistory(limit=SLOTS, runs=[*launched.values()], holes_allowed=True, **vars(watcher.watched()))
        findings = check(limits)
        for run, viewer in zip(ended, viewers, strict=True):
            run_id = run["run_id"]
            finished[run_id] = LINES[run["pipeline"]] if run["status"] == "completed" else None
            viewer.join(60)
            assert viewer.ended, f"{run_id}: the viewer received no end event"
            streams = [viewer.events, launcher.events(run_id)]
            # The kubelet deletes the logs of pods that it evicts.
            gaps_allowed = run["reason"] == "Evicted"
            findings += check_log(server, run_id, finished[run_id], streams=streams, gaps_allowed=gaps_allowed)
            findings += check_outcome(server, run_id)
    assert not findings, report(findings)


def reasons(server: ObservedServer, run_ids: list[str]) -> list[str]:
    return [server.launcher.status(run_id)["reason"] for run_id in run_ids]


def test_runs_continue_while_k3s_restarts(server: ObservedServer, finished: dict[str, int | None]) -> None:
    with runs(server, finished) as launched:
        server.cluster.restart_k3s()
    assert reasons(server, launched) == ["Completed"] * 4


def test_rotating_the_secret_disturbs_no_run(server: ObservedServer, finished: dict[str, int | None]) -> None:
    with runs(server, finished) as launched:
        old, server.secret = server.secret, secrets.token_hex(32)
        server.write_env(RUNNER_API_SECRET_PREVIOUS=old, MAX_CONCURRENCY=f"{SLOTS + 1}")
        output = server.run("config.py", str(server.config))
        assert "restarting launcher and operator" in output and "MAX_CONCURRENCY: chart values" in output
        server.slipway("ps", secret=old)
        server.slipway("ps", secret=server.secret)
        server.connect()  # clients get the new secret
        server.write_env()
        server.run("config.py", str(server.config))
        server.slipway("ps", secret=old, fails=True)
    assert reasons(server, launched) == ["Completed"] * 4


def test_reboot_fails_active_runs_and_the_queue_continues(
    server: ObservedServer, finished: dict[str, int | None]
) -> None:
    with runs(server, finished, active="long") as launched:
        server.cluster.reboot()
    assert reasons(server, launched) == ["NodeLost", "NodeLost", "Completed", "Completed"]
    assert "The node was lost" in server.launcher.status(launched[0])["message"]


def test_full_disk_evicts_active_runs_and_the_queue_continues(
    server: ObservedServer, finished: dict[str, int | None]
) -> None:
    with runs(server, finished, active="long") as launched, server.cluster.full_disk():
        until(lambda: all(pod_reasons(server, run_id) == ["Evicted"] for run_id in launched[:SLOTS]))
    assert reasons(server, launched) == ["Evicted", "Evicted", "Completed", "Completed"]
    assert "low on resource: ephemeral-storage" in server.launcher.status(launched[0])["message"]


def pod_reasons(server: ObservedServer, run_id: str) -> list[str | None]:
    return [pod["status"].get("reason") for pod in server.pods(run_id)]


def test_backup_is_restored_into_another_namespace(
    server: ObservedServer, finished: dict[str, int | None], tmp_path: Path
) -> None:
    launcher, backup = server.launcher, tmp_path / "slipway.tar.gz"
    active = launcher.run("active", pipeline="long")["run_id"]
    until(lambda: len(launcher.log(active).splitlines()) > 5)
    server.run("data.sh", "backup", str(backup))
    logs = {run_id: launcher.log(run_id) for run_id in finished}
    server.run("uninstall.sh", "--yes")

    server.namespace = f"restored-{secrets.token_hex(4)}"
    install(server)
    server.run("data.sh", "restore", str(backup))
    server.connect()
    run = launcher.wait(active, seconds=60)
    assert (run["status"], run["reason"]) == ("failed", "Deleted"), run
    assert {run_id: launcher.log(run_id) for run_id in finished} == logs
    findings = []
    for run_id in (active, *finished):  # viewers read the log of a finished run from the archive
        findings += check_log(server, run_id, finished.get(run_id), in_redis=False, gaps_allowed=True)
    until(lambda: all(has_record_in_redis(server, run_id) for run_id in (active, *finished)))
    for run_id in (active, *finished):
        findings += check_outcome(server, run_id)
    assert not findings, report(findings)
    with runs(server, finished, active="quick") as launched:
        pass
    assert reasons(server, launched) == ["Completed"] * 4


def has_record_in_redis(server: ObservedServer, run_id: str) -> bool:
    return not [finding for finding in check_outcome(server, run_id) if "redis" in finding.detail]
