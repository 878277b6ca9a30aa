"""The chart on the cluster: the seed's scenario, an upgrade while runs queue and run, and an uninstall."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from checkers import logs
from checkers.findings import report
from checkers.loghistory import LogHistory
from checkers.printing import command as printer
from checkers.queue import QueuedRun, QueueHistory, check
from checkers.watching import Watched, Watcher
from cluster.cluster import Cluster
from cluster.conftest import until
from cluster.scenario import a_posting_becomes_a_cv
from cluster.viewers import Viewer
from launching.release import TESTS_IMAGE, Release
from servers.forwarding import Forwarder
from servers.mongodb_server import MongodbServer

LINES, RUNS, SLOTS = 1000, 10, 3
PIPELINES = {"printer": {"image": TESTS_IMAGE, "command": printer(LINES, rate=100), "artifacts": {}}}


@pytest.fixture(scope="module")
def release(cluster: Cluster, mongodb_server: MongodbServer) -> Iterator[Release]:
    if not cluster.can_control:
        pytest.skip("Services of this cluster are not reached from here, nor are the images surely there.")
    mongodb_server.revive()
    with Forwarder(cluster.gateway, mongodb_server.port) as mongo:
        uri = f"mongodb://{mongo.host}:{mongo.port}/?directConnection=true"
        with Release(cluster, mongodb_uri=uri, pipelines=PIPELINES) as running:
            yield running


def test_a_posting_in_mongodb_becomes_a_cv_and_kubectl_tells_the_same(
    release: Release, mongodb_server: MongodbServer
) -> None:
    run_id = a_posting_becomes_a_cv(release.client, mongodb_server)

    def listed() -> str:
        return next(line for line in release.kubectl("get", "jobs").splitlines() if line.startswith("4711-"))

    until(lambda: "Complete" in listed())  # the outcome is the pod's, known a moment before the Job's condition
    archived = release.client.get(f"/jobs/{run_id}/log").text
    assert archived.split("\n", 1)[1] == release.kubectl("logs", f"job/{run_id}")
    until(lambda: release.client.get("/health").json()["status"] == "healthy")  # Redis has started just now
    health = release.client.get("/health").json()
    assert (health["redis"], health["mongodb"]) == ("ok", "ok")
    assert (health["engine"], health["kubernetes"]) == ("kubernetes", "ok")


def test_helms_own_test_passes(release: Release) -> None:
    assert "Phase:          Succeeded" in release.helm("test", "slipway", "--timeout=120s")


def test_an_upgrade_while_runs_queue_and_run_loses_no_run_no_line_and_no_outcome(release: Release) -> None:
    before = _services(release)
    with Watcher(release.kubectl_command, release.namespace) as watcher:
        queued = [_queued(_launched(release, str(n))) for n in range(RUNS)]
        viewers = [Viewer(release, run.run_id) for run in queued]
        for viewer in viewers:
            viewer.start()
        until(lambda: release.client.get(f"/jobs/{queued[0].run_id}/status").json()["status"] == "running")
        release.upgrade(launcher={"rateLimitPerMinute": 600_000})
        assert not before & _services(release), "both services were to be replaced"

        def all_over(watched: Watched) -> bool:
            return len({pod.run_id for pod in watched.pods if pod.phase in ("Succeeded", "Failed")}) == RUNS

        watched = watcher.wait_until(all_over, 300)
    findings = check(QueueHistory(limit=SLOTS, runs=queued, **vars(watched)))
    for run, viewer in zip(queued, viewers, strict=True):
        viewer.join(60)
        assert viewer.ended
        shown = release.client.get(f"/jobs/{run.run_id}/status").json()
        assert (shown["status"], shown["exit_code"], shown["reason"]) == ("completed", 0, "Completed"), shown
        text = release.client.get(f"/jobs/{run.run_id}/log").content
        seen = {"text": text, "receipt": shown["log"], "streams": [viewer.events]}
        findings += logs.check(LogHistory(run_id=run.run_id, expected=LINES, **seen))
    assert not findings, report(findings)


def test_an_upgrade_leaves_the_queue_paused(release: Release) -> None:
    release.client.post("/queue/pause").raise_for_status()
    try:
        release.upgrade(launcher={"rateLimitPerMinute": 500_000})
        assert release.client.get("/health").json()["paused"]
    finally:
        release.client.post("/queue/resume").raise_for_status()


def test_an_uninstall_ends_by_itself_and_leaves_the_data_alone(release: Release) -> None:
    said = release.helm("uninstall", "slipway", "--wait", "--timeout=120s")
    assert "slipway-data" in said
    kinds = "deployments,statefulsets,services,configmaps,secrets,roles,rolebindings,resourcequotas,limitranges,"
    kinds += "networkpolicies,ingresses,cronjobs"
    left = {f"{each['kind']}/{each['metadata']['name']}" for each in release.json("get", kinds)["items"]}
    ours = {"Secret/slipway-env", "Secret/slipway-pipeline", "ConfigMap/slipway-master-cv"}
    assert left - ours == {"ConfigMap/kube-root-ca.crt"}
    until(lambda: _claims(release) == ["slipway-data"])
    assert release.json("get", "jobs")["items"], "runs are nobody's but the user's"


def _claims(release: Release) -> list[str]:
    return [each["metadata"]["name"] for each in release.json("get", "persistentvolumeclaims")["items"]]


def _launched(release: Release, job_id: str) -> dict[str, Any]:
    answer = release.client.post("/jobs/run", json={"job_id": job_id, "pipeline": "printer"})
    run: dict[str, Any] = answer.raise_for_status().json()
    return run


def _queued(run: dict[str, Any]) -> QueuedRun:
    created_at = datetime.fromisoformat(run["created_at"])
    return QueuedRun(run_id=run["run_id"], queued_at=round(created_at.timestamp() * 1e6), queued=time.time())


def _services(release: Release) -> set[str]:
    """Return the uids of the pods of launcher and operator."""
    selector = "--selector=app.kubernetes.io/name in (slipway-launcher, slipway-operator)"
    return {pod["metadata"]["uid"] for pod in release.json("get", "pods", selector)["items"]}
