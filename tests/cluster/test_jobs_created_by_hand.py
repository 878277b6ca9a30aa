"""A labelled Job that was created by hand is a run if it meets the requirements; others are rejected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.cluster import TESTS_IMAGE, Cluster
from cluster.runs import recorded, until
from cluster.verifier import RunVerifier, with_bound_volume
from launching.installation import Installation

Manifest = dict[str, Any]
LABELS = {"slipway.dev/run": "true"}
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
HELLO = "echo hello by hand"


class WithoutPolicy(Installation):
    """An installation where only the operator rejects Jobs."""

    admission_policy = False


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    redis_server.revive()
    with WithoutPolicy(
        cluster,
        tmp_path_factory.mktemp("slipway"),
        {"hello": {"command": ["echo", "hello"]}},
        slots=2,
        REDIS_URL=redis_server.url,
        CANNOT_START_GRACE_SECONDS="2",
    ) as running:
        yield with_bound_volume(running)


@pytest.fixture(scope="module")
def verifier(installation: Installation) -> Iterator[RunVerifier]:
    with installation.watcher() as watcher:
        yield RunVerifier(installation, watcher)


def job_spec(script: str = HELLO, **pod: Any) -> Manifest:
    """Return the spec of a Job that meets the requirements for a run."""
    container = {
        "name": "main",
        "image": TESTS_IMAGE,
        "command": ["sh", "-c", script],
        "securityContext": RESTRICTED,
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "activeDeadlineSeconds": 900, "securityContext": security} | pod
    template = {"metadata": {"labels": LABELS}, "spec": {**spec, "containers": [container]}}
    return {"suspend": True, "backoffLimit": 0, "template": template}


def create(installation: Installation, name: str, spec: Manifest, **annotations: str) -> None:
    """Create a Job with the label of a run."""
    metadata = {"name": name, "labels": LABELS, "annotations": annotations}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    installation.kubectl("create", "--filename=-", input=json.dumps(job))


def listed(installation: Installation) -> dict[str, Manifest]:
    """Return the runs that the launcher lists, by run id."""
    page = installation.launcher.client.get("/jobs").raise_for_status().json()
    return {run["run_id"]: run for run in page["runs"]}


def wait_until_known(installation: Installation, run_id: str) -> None:
    """Wait until the launcher knows a run."""
    until(lambda: installation.launcher.client.get(f"/jobs/{run_id}/status").status_code == 200)


def assert_completed(installation: Installation, verifier: RunVerifier, run_id: str, output: bytes) -> None:
    wait_until_known(installation, run_id)
    run = verifier.wait(run_id)
    assert (run["status"], run["exit_code"], run["job_id"]) == ("completed", 0, run_id), run
    assert verifier.output(run_id) == output
    assert installation.kubectl("logs", f"job/{run_id}").encode() == output
    assert listed(installation)[run_id]["status"] == "completed"


def test_job_that_meets_the_requirements_is_a_run(installation: Installation, verifier: RunVerifier) -> None:
    create(installation, "by-hand", job_spec())
    assert_completed(installation, verifier, "by-hand", b"hello by hand\n")


def test_job_of_a_cronjob_is_a_run(installation: Installation, verifier: RunVerifier) -> None:
    template = {"metadata": {"labels": LABELS}, "spec": job_spec()}
    cronjob = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 1 1 *", "jobTemplate": template},
    }
    installation.kubectl("create", "--filename=-", input=json.dumps(cronjob))
    installation.kubectl("create", "job", "nightly-29387645", "--from=cronjob/nightly")
    assert_completed(installation, verifier, "nightly-29387645", b"hello by hand\n")


def create_invalid_jobs(installation: Installation, *names: str) -> None:
    """Create Jobs with the label of a run that meet none of the requirements and ignore SIGTERM."""
    spec = job_spec("trap '' TERM; while :; do sleep 1; done", terminationGracePeriodSeconds=6)
    del spec["suspend"], spec["template"]["spec"]["activeDeadlineSeconds"]
    for name in names:
        create(installation, name, {**spec, "backoffLimit": 6})


def test_job_that_misses_the_requirements_is_rejected_and_its_pods_are_stopped(
    installation: Installation, verifier: RunVerifier
) -> None:
    create_invalid_jobs(installation, "not-a-run")
    wait_until_known(installation, "not-a-run")
    run = verifier.wait("not-a-run", deleted=True)
    assert (run["status"], run["reason"], run["started_at"]) == ("failed", "Rejected", None), run
    for part in ("spec.suspend must be true", "backoffLimit must be 0", "activeDeadlineSeconds must be set"):
        assert part in run["message"], run
    assert verifier.output("not-a-run") == f"{run['message']}\n".encode()
    until(lambda: not installation.pods("not-a-run"))


def test_pod_rejected_by_kubernetes_fails_the_run_with_its_message(
    installation: Installation, verifier: RunVerifier
) -> None:
    spec = job_spec()
    spec["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    create(installation, "privileged", spec)
    wait_until_known(installation, "privileged")
    run = verifier.wait("privileged")
    assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "CannotStart", None), run
    assert 'violates PodSecurity "restricted:latest": privileged' in run["message"], run
    assert verifier.output("privileged") == f"{run['message']}\n".encode()


@pytest.mark.parametrize("suspended", [True, False])
def test_job_with_the_name_of_a_finished_run_is_not_executed(
    suspended: bool, installation: Installation, verifier: RunVerifier
) -> None:
    run_id = f"again-{suspended}".lower()
    create(installation, run_id, job_spec())
    wait_until_known(installation, run_id)
    before, log = verifier.wait(run_id), installation.launcher.log(run_id)
    installation.kubectl("delete", "job", run_id, "--wait=true")
    until(lambda: not installation.pods(run_id))
    create(installation, run_id, job_spec("sleep 60") | {"suspend": suspended})
    until(lambda: recorded(installation, run_id))
    until(lambda: not any(pod["status"]["phase"] in ("Pending", "Running") for pod in installation.pods(run_id)))
    job = installation.job(run_id)
    assert job is not None
    assert (job["spec"]["suspend"], job["status"].get("succeeded")) == (True, None), job["status"]
    assert installation.launcher.status(run_id) == before  # the checkers know one pod per run
    assert installation.launcher.log(run_id) == log


def test_rejected_jobs_take_no_slot(installation: Installation, verifier: RunVerifier) -> None:
    names = ("holds-no-slot-1", "holds-no-slot-2")  # as many as there are slots
    installation.operator.stop()
    create_invalid_jobs(installation, *names)
    until(lambda: [pod["status"]["phase"] for name in names for pod in installation.pods(name)] == ["Running"] * 2)
    installation.operator.start()
    hello = installation.launcher.run("1", pipeline="hello")["run_id"]
    assert installation.launcher.wait(hello)["status"] == "completed"
    assert any(pod["status"]["phase"] == "Running" for name in names for pod in installation.pods(name))


def test_copy_of_a_finished_runs_job_is_a_new_run_if_it_meets_the_requirements(
    installation: Installation, verifier: RunVerifier
) -> None:
    original = installation.launcher.run("copied", pipeline="hello")["run_id"]
    assert verifier.wait(original)["status"] == "completed"
    until(lambda: recorded(installation, original))
    job = installation.job(original)
    assert job is not None
    metadata = {"labels": job["metadata"]["labels"], "annotations": job["metadata"]["annotations"]}
    template = {**job["spec"]["template"], "metadata": {"labels": LABELS}}
    spec: Manifest = {"backoffLimit": 0, "template": template}
    copies: dict[str, Manifest] = {
        "copy-unchanged": {"suspend": False, "ttlSecondsAfterFinished": 86400},
        "copy-suspended": {"suspend": True},
    }
    for name, changes in copies.items():
        copy = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**metadata, "name": name}, "spec": spec | changes}
        installation.kubectl("create", "--filename=-", input=json.dumps(copy))
    wait_until_known(installation, "copy-unchanged")
    run = verifier.wait("copy-unchanged", deleted=True)
    assert (run["status"], run["reason"]) == ("failed", "Rejected"), run
    assert "spec.suspend must be true" in run["message"] and "ttlSecondsAfterFinished" in run["message"], run
    run = verifier.wait("copy-suspended")
    assert (run["status"], run["job_id"]) == ("completed", "copied"), run
    assert verifier.output("copy-suspended") == b"hello\n"
