"""A Job with the label of a run is one, whoever made it, if it keeps the form; else it is refused with a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.cluster import TESTS_IMAGE, Cluster
from cluster.ends import Ends, with_its_volume
from cluster.runs import recorded, until
from launching.installation import Installation

Manifest = dict[str, Any]
LABELS = {"slipway.dev/run": "true"}
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
HELLO = "echo hello by hand"


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    redis_server.revive()
    with Installation(
        cluster,
        tmp_path_factory.mktemp("slipway"),
        {"hello": {"command": ["echo", "hello"]}},
        slots=2,
        REDIS_URL=redis_server.url,
        CANNOT_START_GRACE_SECONDS="2",
    ) as running:
        yield with_its_volume(running)


@pytest.fixture(scope="module")
def ends(installation: Installation) -> Iterator[Ends]:
    with installation.watcher() as watcher:
        yield Ends(installation, watcher)


def job_spec(script: str = HELLO, **pod: Any) -> Manifest:
    """Return what people write who know the form."""
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
    """Create a Job that says that it is a run."""
    metadata = {"name": name, "labels": LABELS, "annotations": annotations}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    installation.kubectl("create", "--filename=-", input=json.dumps(job))


def listed(installation: Installation) -> dict[str, Manifest]:
    """Return the runs that the launcher lists, by run id."""
    page = installation.launcher.client.get("/jobs").raise_for_status().json()
    return {run["run_id"]: run for run in page["runs"]}


def seen(installation: Installation, run_id: str) -> None:
    """Wait until the launcher knows a run."""
    until(lambda: installation.launcher.client.get(f"/jobs/{run_id}/status").status_code == 200)


def assert_well(installation: Installation, ends: Ends, run_id: str, printed: bytes) -> None:
    seen(installation, run_id)
    run = ends.of(run_id)
    assert (run["status"], run["exit_code"], run["job_id"]) == ("completed", 0, run_id), run
    assert ends.printed(run_id) == printed
    assert installation.kubectl("logs", f"job/{run_id}").encode() == printed
    assert listed(installation)[run_id]["status"] == "completed"


def test_a_job_that_keeps_the_form_is_a_run(installation: Installation, ends: Ends) -> None:
    create(installation, "by-hand", job_spec())
    assert_well(installation, ends, "by-hand", b"hello by hand\n")


def test_a_job_of_a_cronjob_is_a_run(installation: Installation, ends: Ends) -> None:
    template = {"metadata": {"labels": LABELS}, "spec": job_spec()}
    cronjob = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 1 1 *", "jobTemplate": template},
    }
    installation.kubectl("create", "--filename=-", input=json.dumps(cronjob))
    installation.kubectl("create", "job", "nightly-29387645", "--from=cronjob/nightly")
    assert_well(installation, ends, "nightly-29387645", b"hello by hand\n")


def without_the_form(installation: Installation, *names: str) -> None:
    """Create Jobs that say that they are runs, keep nothing of the form, and do not end when they are told to."""
    spec = job_spec("trap '' TERM; while :; do sleep 1; done", terminationGracePeriodSeconds=6)
    del spec["suspend"], spec["template"]["spec"]["activeDeadlineSeconds"]
    for name in names:
        create(installation, name, {**spec, "backoffLimit": 6})


def test_a_job_without_the_form_is_rejected_and_its_pods_are_ended(installation: Installation, ends: Ends) -> None:
    without_the_form(installation, "not-a-run")
    seen(installation, "not-a-run")
    run = ends.of("not-a-run", deleted=True)
    assert (run["status"], run["reason"], run["started_at"]) == ("failed", "Rejected", None), run
    for part in ("spec.suspend must be true", "backoffLimit must be 0", "activeDeadlineSeconds must be set"):
        assert part in run["message"], run
    assert ends.printed("not-a-run") == f"{run['message']}\n".encode()
    until(lambda: not installation.pods("not-a-run"))


def test_a_pod_that_kubernetes_refuses_cannot_start_and_its_words_are_told(
    installation: Installation, ends: Ends
) -> None:
    spec = job_spec()
    spec["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    create(installation, "privileged", spec)
    seen(installation, "privileged")
    run = ends.of("privileged")
    assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "CannotStart", None), run
    assert 'violates PodSecurity "restricted:latest": privileged' in run["message"], run
    assert ends.printed("privileged") == f"{run['message']}\n".encode()


@pytest.mark.parametrize("suspended", [True, False])
def test_a_job_with_the_name_of_a_run_that_has_ended_is_not_executed(
    suspended: bool, installation: Installation, ends: Ends
) -> None:
    run_id = f"again-{suspended}".lower()
    create(installation, run_id, job_spec())
    seen(installation, run_id)
    before, log = ends.of(run_id), installation.launcher.log(run_id)
    installation.kubectl("delete", "job", run_id, "--wait=true")
    until(lambda: not installation.pods(run_id))
    create(installation, run_id, job_spec("sleep 5") | {"suspend": suspended})
    until(lambda: recorded(installation, run_id))
    until(lambda: not any(pod["status"]["phase"] in ("Pending", "Running") for pod in installation.pods(run_id)))
    job = installation.job(run_id)
    assert job is not None
    assert (job["spec"]["suspend"], job["status"].get("succeeded")) == (True, None), job["status"]
    assert ends.of(run_id) == before
    assert installation.launcher.log(run_id) == log


def test_jobs_without_the_form_hold_no_slot(installation: Installation, ends: Ends) -> None:
    names = ("holds-no-slot-1", "holds-no-slot-2")  # as many as there are slots
    installation.operator.stop()
    without_the_form(installation, *names)
    until(lambda: [pod["status"]["phase"] for name in names for pod in installation.pods(name)] == ["Running"] * 2)
    installation.operator.start()
    hello = installation.launcher.run("1", pipeline="hello")["run_id"]
    assert installation.launcher.wait(hello)["status"] == "completed"
    assert any(pod["status"]["phase"] == "Running" for name in names for pod in installation.pods(name))


def test_a_copy_of_an_ended_runs_job_is_no_record_and_runs_once_it_keeps_the_form(
    installation: Installation, ends: Ends
) -> None:
    original = installation.launcher.run("copied", pipeline="hello")["run_id"]
    assert ends.of(original)["status"] == "completed"
    until(lambda: recorded(installation, original))
    job = installation.job(original)
    assert job is not None
    metadata = {"labels": job["metadata"]["labels"], "annotations": job["metadata"]["annotations"]}
    template = {**job["spec"]["template"], "metadata": {"labels": LABELS}}
    spec: Manifest = {"backoffLimit": 0, "template": template}
    copies: dict[str, Manifest] = {
        "copy-as-it-was": {"suspend": False, "ttlSecondsAfterFinished": 86400},
        "copy-in-form": {"suspend": True},
    }
    for name, rest in copies.items():
        copy = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**metadata, "name": name}, "spec": spec | rest}
        installation.kubectl("create", "--filename=-", input=json.dumps(copy))
    seen(installation, "copy-as-it-was")
    run = ends.of("copy-as-it-was", deleted=True)
    assert (run["status"], run["reason"]) == ("failed", "Rejected"), run
    assert "spec.suspend must be true" in run["message"] and "ttlSecondsAfterFinished" in run["message"], run
    run = ends.of("copy-in-form")
    assert (run["status"], run["job_id"]) == ("completed", "copied"), run
    assert ends.printed("copy-in-form") == b"hello\n"
