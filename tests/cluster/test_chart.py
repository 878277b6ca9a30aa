"""The chart on the cluster: the main scenario, an upgrade with queued and running runs, and an uninstall."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from checkers import logs
from checkers.findings import report
from checkers.log_history import LogHistory
from checkers.printing import command as printer
from checkers.queue import QueuedRun, QueueHistory, check
from checkers.watching import Watched, Watcher
from cluster.cluster import Cluster
from cluster.runs import until
from cluster.scenario import process_posting
from cluster.viewers import Viewer
from launching.chart import CHART
from launching.release import TESTS_IMAGE, Release
from servers.forwarding import Forwarder
from servers.mongodb_server import MongodbServer

LINES, RUNS, SLOTS = 1000, 10, 3
PIPELINES = {
    "printer": {"image": TESTS_IMAGE, "command": printer(LINES, rate=100), "artifacts": {}},
    "sleeper": {"image": TESTS_IMAGE, "command": ["sleep", "600"], "artifacts": {}},
}
RIGHTS = Path(__file__).with_name("rights.txt")
MODES = """
import os, stat
for folder, _, files in os.walk("/data"):
    for path in (os.path.join(folder, name) for name in files):
        found = os.lstat(path)
        print(stat.filemode(found.st_mode), found.st_uid, found.st_gid, path)
"""


def chart_without_redis_password(folder: Path) -> Path:
    """Return a chart as it was before Redis had a password."""
    templates = shutil.copytree(CHART, folder / "slipway") / "templates"
    (templates / "redis/secret.yaml").unlink()
    for name, new, old in (
        ("redis/redis.yaml", "requirepass $REDIS_PASSWORD", "protected-mode no"),
        ("redis/redis.yaml", '{{- include "slipway.redisPasswordVariable" . | nindent 12 }}', "[]"),
        ("redis/_password.tpl", "checksum/redis: {{ sha256sum . }}", ""),
        ("_helpers.tpl", '{{ include "slipway.redisPasswordVariable" . }}\n', ""),
        ("_helpers.tpl", ":$(REDIS_PASSWORD)@", ""),
    ):
        text = (templates / name).read_text()
        assert new in text
        (templates / name).write_text(text.replace(new, old))
    return templates.parent


@pytest.fixture(scope="module")
def release(
    cluster: Cluster, mongodb_server: MongodbServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    if not cluster.can_control:
        pytest.skip("The Services of this cluster may be unreachable from here, and its images missing.")
    mongodb_server.revive()
    with Forwarder(cluster.gateway, mongodb_server.port) as mongo:
        uri = f"mongodb://{mongo.host}:{mongo.port}/?directConnection=true"
        release = Release(cluster, mongodb_uri=uri, pipelines=PIPELINES)
        release.chart = chart_without_redis_password(tmp_path_factory.mktemp("older"))  # until the test of the upgrade
        with release:
            yield release


def test_posting_in_mongodb_becomes_a_cv_and_kubectl_shows_the_same_run(
    release: Release, mongodb_server: MongodbServer
) -> None:
    run_id = process_posting(release.client, mongodb_server)

    def listed() -> str:
        return next(line for line in release.kubectl("get", "jobs").splitlines() if line.startswith("4711-"))

    until(lambda: "Complete" in listed())  # the outcome comes from the pod, shortly before the Job's condition
    archived = release.client.get(f"/jobs/{run_id}/log").text
    assert archived.split("\n", 1)[1] == release.kubectl("logs", f"job/{run_id}")
    until(lambda: release.client.get("/health").json()["status"] == "healthy")  # Redis has only just started
    health = release.client.get("/health").json()
    assert (health["redis"], health["mongodb"]) == ("ok", "ok")
    assert (health["engine"], health["kubernetes"]) == ("kubernetes", "ok")
    until(
        lambda: release.client.get("/health").json()["operator"] == "up"
    )  # known once the Lease was seen to be renewed


def test_example_cronjob_creates_a_run(release: Release) -> None:
    release.upgrade(cronJob={"enabled": True, "schedule": "0 3 1 1 *", "jobId": "4711"})
    release.kubectl("create", "job", "by-schedule", "--from=cronjob/slipway-example")

    def status() -> dict[str, Any]:
        answer = release.client.get("/jobs/by-schedule/status")
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found

    until(lambda: status().get("completed_at"), 120)
    run = status()
    assert (run["status"], run["job_id"], run["exit_code"], run["log"]["complete"]) == ("completed", "4711", 0, True), (
        run
    )
    assert release.client.get(run["artifacts"]["cv_md_url"]).text.startswith("# ")


def test_accounts_have_only_the_reviewed_permissions(release: Release) -> None:
    """Compare `kubectl auth can-i --list` with `rights.txt`, which RENEW_GOLDEN=1 rewrites.

    Runs use the account `default` without its token.
    """
    listed = ""
    for account in ("slipway-launcher", "slipway-operator", "default"):
        user = f"--as=system:serviceaccount:{release.namespace}:{account}"
        groups = ["--as-group=system:serviceaccounts", "--as-group=system:authenticated"]
        head, *rules = release.kubectl("auth", "can-i", "--list", user, *groups).splitlines()
        listed += "\n".join([f"{account}:", *(line.rstrip() for line in [head, *sorted(rules)])]) + "\n\n"
    if os.environ.get("RENEW_GOLDEN"):
        RIGHTS.write_text(listed)
    assert listed == RIGHTS.read_text()


def test_only_the_stamped_user_and_group_can_access_archives_and_artifacts(release: Release) -> None:
    listed = release.kubectl("exec", "deployment/slipway-operator", "--", "python", "-c", MODES).splitlines()
    assert {path.split("/")[2] for path in listed} >= {"archive", "applications"}
    for line in listed:
        mode, user, group, _ = line.split(maxsplit=3)
        assert (mode[5], mode[7:], user, group) == ("-", "---", "10001", "10001"), line


def test_helm_test_passes(release: Release) -> None:
    assert "Phase:          Succeeded" in release.helm("test", "slipway", "--timeout=120s")


def test_upgrade_with_queued_and_running_runs_loses_no_run_line_or_outcome(release: Release, tmp_path: Path) -> None:
    assert redis_says(release, "ping") == "PONG"
    before = _services(release)
    newer = shutil.copytree(CHART, tmp_path / "slipway")
    (newer / "Chart.yaml").write_text((newer / "Chart.yaml").read_text().replace("version: 0.1.0", "version: 9.9.9"))
    with Watcher(release.kubectl_command, release.namespace) as watcher:
        queued = [_queued(_launched(release, str(n))) for n in range(RUNS)]
        viewers = [Viewer(release, run.run_id) for run in queued]
        for viewer in viewers:
            viewer.start()
        until(lambda: release.client.get(f"/jobs/{queued[0].run_id}/status").json()["status"] == "running")
        release.chart = newer
        release.upgrade(launcher={"rateLimitPerMinute": 600_000}, queue={"timeoutSeconds": 500})
        assert "slipway-9.9.9" in release.helm("list")
        until(lambda: not before & _services(release))  # both were replaced; the old pods closed their streams
        until(lambda: release.client.get("/health").json()["redis"] == "ok", 30)
        assert "NOAUTH" in redis_says(release, "ping")

        def all_finished(watched: Watched) -> bool:
            finished = {pod.run_id for pod in watched.pods if pod.phase in ("Succeeded", "Failed")}
            return finished >= {run.run_id for run in queued}  # earlier tests' runs are listed too

        watched = watcher.wait_until(all_finished, 300)
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


def test_redis_password_is_generated_kept_and_seen_by_nobody_else(release: Release) -> None:
    password = redis_password(release)
    assert len(password) == 48
    assert redis_says(release, "ping", REDISCLI_AUTH=password) == "PONG"
    before = _services(release)
    release.upgrade()
    assert (redis_password(release), _services(release)) == (password, before)
    shown = release.helm("get", "values", "slipway", "--all") + release.kubectl(
        "get", "jobs,pods,configmaps", "-o=yaml"
    )
    for workload in ("statefulset/slipway-redis", "deployment/slipway-launcher", "deployment/slipway-operator"):
        shown += release.kubectl("exec", workload, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline")
        shown += release.kubectl("logs", workload)
    assert "REDIS_PASSWORD" in shown and password not in shown
    pods = release.json("get", "pods", "--selector=slipway.dev/run")["items"]
    assert pods and "redis" not in json.dumps(pods).lower()


def test_upgrade_leaves_the_queue_paused_and_replaces_a_deleted_redis_password(release: Release) -> None:
    release.client.post("/queue/pause").raise_for_status()
    password = redis_password(release)
    release.kubectl("delete", "secret", "slipway-redis")
    try:
        release.upgrade(launcher={"rateLimitPerMinute": 500_000})
        assert release.client.get("/health").json()["paused"]
        assert redis_password(release) != password
        until(lambda: release.client.get("/health").json()["redis"] == "ok", 30)
    finally:
        release.client.post("/queue/resume").raise_for_status()


def test_uninstall_stops_all_runs_and_keeps_only_the_data(release: Release) -> None:
    def completed() -> set[str]:
        found = release.client.get("/jobs", params={"status": "completed", "pipeline": "printer"}).json()["runs"]
        return {run["run_id"] for run in found}

    before = completed()
    run_ids = [_launched(release, f"interrupted-{n}", "sleeper")["run_id"] for n in range(SLOTS + 2)]
    until(lambda: len(_running(release)) == SLOTS)
    output = release.helm("uninstall", "slipway", "--wait", "--timeout=120s")
    assert f"kubectl --namespace {release.namespace} delete persistentvolumeclaim slipway-data" in output
    kinds = "deployments,statefulsets,services,configmaps,secrets,serviceaccounts,roles,rolebindings,resourcequotas,"
    kinds += "limitranges,networkpolicies,ingresses,cronjobs,jobs,pods,leases"
    remaining = {f"{each['kind']}/{each['metadata']['name']}" for each in release.json("get", kinds)["items"]}
    provided = {
        "Secret/slipway-env",
        "Secret/slipway-pipeline",
        "ConfigMap/slipway-master-cv",
        "NetworkPolicy/tests-slipway-launcher",
    }
    assert remaining - provided == {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
    until(lambda: _claims(release) == ["slipway-data"])
    cluster_scoped = "validatingadmissionpolicies,validatingadmissionpolicybindings,priorityclasses"
    assert release.namespace not in release.kubectl("get", cluster_scoped)
    with pytest.raises(RuntimeError, match="not found"):
        release.helm("uninstall", "slipway")
    release.upgrade()  # a new installation uses the data that was kept

    def statuses() -> set[str]:
        return {release.client.get(f"/jobs/{run_id}/status").json()["status"] for run_id in run_ids}

    until(lambda: statuses() == {"failed"}, 120)
    assert len(before) >= RUNS
    assert completed() == before


def redis_password(release: Release) -> str:
    """Return the password in the chart's Secret."""
    return base64.b64decode(release.json("get", "secret", "slipway-redis")["data"]["REDIS_PASSWORD"]).decode()


def redis_says(release: Release, command: str, **environment: str) -> str:
    """Return Redis' answer to a command."""
    variables = [f"{name}={value}" for name, value in environment.items()]
    return release.kubectl("exec", "slipway-redis-0", "--", "env", *variables, "redis-cli", command).strip()


def _claims(release: Release) -> list[str]:
    return [each["metadata"]["name"] for each in release.json("get", "persistentvolumeclaims")["items"]]


def _launched(release: Release, job_id: str, pipeline: str = "printer") -> dict[str, Any]:
    answer = release.client.post("/jobs/run", json={"job_id": job_id, "pipeline": pipeline})
    run: dict[str, Any] = answer.raise_for_status().json()
    return run


def _queued(run: dict[str, Any]) -> QueuedRun:
    created_at = datetime.fromisoformat(run["created_at"])
    return QueuedRun(run_id=run["run_id"], queued_at=round(created_at.timestamp() * 1e6), queued=time.time())


def _running(release: Release) -> list[dict[str, Any]]:
    pods = release.json("get", "pods", "--selector=slipway.dev/run")["items"]
    return [pod for pod in pods if pod["status"]["phase"] == "Running"]


def _services(release: Release) -> set[str]:
    """Return the uids of the pods of launcher and operator."""
    selector = "--selector=app.kubernetes.io/name in (slipway-launcher, slipway-operator)"
    return {pod["metadata"]["uid"] for pod in release.json("get", "pods", selector)["items"]}
