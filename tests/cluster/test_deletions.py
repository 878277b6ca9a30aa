"""Deleting or cancelling at any stage: the run has one outcome, its log is kept, and nothing keeps running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.runs import finish_held_run, recorded, until
from cluster.verifier import RunVerifier, with_bound_volume
from launcher.domain.outcomes import cancelled_before_start
from launching.installation import Installation

WAITS = "while [ ! -e $APPLICATIONS_DIR/go ]; do sleep 0.1; done"
PIPELINES: dict[str, dict[str, Any]] = {
    "held": {"command": ["sh", "-c", f"trap 'echo stopping; exit 0' TERM; echo up; {WAITS}; echo done"]},
    "stubborn": {"command": ["sh", "-c", f"trap 'echo ignored' TERM; echo up; {WAITS}"]},
    "hello": {"command": ["echo", "hello"]},
    "not-there": {"command": ["true"], "image": "localhost/slipway-tests:not-there"},
}
RUNNING = {  # a run for each test that needs one, by name
    "pod-of-a-running-run": "held",
    "job-of-a-running-run": "held",
    "job-of-a-running-run-but-not-its-pod": "held",
    "cancelled": "held",
    "cancelled-and-stubborn": "stubborn",
    "pod-before-the-record": "held",
    "job-before-the-record": "held",
}
PULLING = ("pod-of-a-pulling-run", "job-of-a-pulling-run", "cancelled-while-pulling")
FINISHED = ("pod-of-a-finished-run", "job-of-a-finished-run", "cancelled-too-late")
QUEUED = ("job-of-a-queued-run", "cancelled-in-the-queue")
Runs = dict[str, str]


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    redis_server.revive()
    with Installation(
        cluster, tmp_path_factory.mktemp("slipway"), PIPELINES, slots=20, REDIS_URL=redis_server.url
    ) as running:
        yield with_bound_volume(running)


@pytest.fixture(scope="module")
def verifier(installation: Installation) -> Iterator[RunVerifier]:
    with installation.watcher() as watcher:
        yield RunVerifier(installation, watcher)


@pytest.fixture(scope="module")
def runs(installation: Installation, verifier: RunVerifier) -> Runs:
    """All runs, each in the state that its test needs; the queue is paused from now on."""
    launcher = installation.launcher
    pipelines = {**RUNNING, **dict.fromkeys(PULLING, "not-there"), **dict.fromkeys(FINISHED, "hello")}
    runs = {name: launcher.run(name, pipeline=pipeline)["run_id"] for name, pipeline in pipelines.items()}
    for name in FINISHED:
        assert launcher.wait(runs[name])["status"] == "completed"
    until(lambda: all(b"up\n" in launcher.log(runs[name]) for name in RUNNING))
    until(lambda: all(recorded(installation, runs[name]) for name in FINISHED))
    until(lambda: all("cannot be pulled" in launcher.status(runs[name])["queue"]["why"] for name in PULLING))
    launcher.client.post("/queue/pause").raise_for_status()
    return runs | {name: launcher.run(name, pipeline="hello")["run_id"] for name in QUEUED}


def pod_of(installation: Installation, run_id: str) -> dict[str, Any]:
    """Return a run's only pod."""
    (pod,) = installation.pods(run_id)
    return pod


def delete_pod(installation: Installation, run_id: str) -> None:
    """Delete a run's pod without waiting."""
    installation.kubectl("delete", "pod", pod_of(installation, run_id)["metadata"]["name"], "--wait=false")


def delete_job(installation: Installation, run_id: str, *options: str) -> None:
    """Delete a run's Job without waiting."""
    installation.kubectl("delete", "job", run_id, "--wait=false", *options)


def cancel(installation: Installation, run_id: str) -> dict[str, Any]:
    """Cancel a run."""
    answer: dict[str, Any] = installation.launcher.client.delete(f"/jobs/{run_id}").raise_for_status().json()
    return answer


def assert_deleted(run: dict[str, Any], exit_code: int | None) -> None:
    assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "Deleted", exit_code), run
    assert run["message"].endswith("Run it again."), run


def assert_nothing_runs(installation: Installation, run_id: str) -> None:
    for pod in installation.pods(run_id):
        assert pod["status"]["phase"] in ("Succeeded", "Failed"), pod["status"]
        assert not any("running" in status["state"] for status in pod["status"]["containerStatuses"]), pod["status"]


# --- in the queue ----------------------------------------------------------------------------------------------------
def test_queued_run_fails_when_its_job_is_deleted(
    installation: Installation, verifier: RunVerifier, runs: Runs
) -> None:
    run_id = runs["job-of-a-queued-run"]
    delete_job(installation, run_id)
    run = verifier.wait(run_id)
    assert_deleted(run, None)
    assert (run["started_at"], run["log"]["complete"]) == (None, True)
    assert verifier.output(run_id) == f"{run['message']}\n".encode()


def test_cancelled_queued_run_never_starts(installation: Installation, verifier: RunVerifier, runs: Runs) -> None:
    run_id = runs["cancelled-in-the-queue"]
    assert cancel(installation, run_id)["status"] in ("queued", "cancelled")
    run = verifier.wait(run_id)
    assert (run["status"], run["exit_code"], run["started_at"]) == ("cancelled", None, None), run
    assert run["message"] == cancelled_before_start().message
    until(lambda: installation.job(run_id) is None)
    assert installation.pods(run_id) == []


# --- pulling its image -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("delete", [delete_pod, delete_job])
def test_run_pulling_its_image_fails_when_its_pod_or_job_is_deleted(
    delete: Any, installation: Installation, verifier: RunVerifier, runs: Runs
) -> None:
    run_id = runs["pod-of-a-pulling-run" if delete is delete_pod else "job-of-a-pulling-run"]
    delete(installation, run_id)
    run = verifier.wait(run_id, deleted=True)
    assert_deleted(run, None)
    assert verifier.output(run_id) == f"{run['message']}\n".encode()


def test_run_pulling_its_image_can_be_cancelled(installation: Installation, verifier: RunVerifier, runs: Runs) -> None:
    run_id = runs["cancelled-while-pulling"]
    cancel(installation, run_id)
    run = verifier.wait(run_id)
    assert (run["status"], run["exit_code"], run["started_at"]) == ("cancelled", None, None), run
    assert_nothing_runs(installation, run_id)


# --- running ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("delete", [delete_pod, delete_job])
def test_running_run_fails_when_its_pod_or_job_is_deleted_and_keeps_its_log(
    delete: Any, installation: Installation, verifier: RunVerifier, runs: Runs
) -> None:
    run_id = runs["pod-of-a-running-run" if delete is delete_pod else "job-of-a-running-run"]
    delete(installation, run_id)
    run = verifier.wait(run_id, deleted=True)
    assert_deleted(run, 0)  # it exited with 0 when it was stopped, and yet is not completed
    assert verifier.output(run_id) == b"up\nstopping\n"
    assert run["log"]["complete"]


def test_orphaned_pod_of_a_deleted_job_is_stopped(
    installation: Installation, verifier: RunVerifier, runs: Runs
) -> None:
    run_id = runs["job-of-a-running-run-but-not-its-pod"]
    delete_job(installation, run_id, "--cascade=orphan")
    run = verifier.wait(run_id, seconds=10)
    assert_deleted(run, 0)
    assert verifier.output(run_id) == b"up\nstopping\n"
    assert_nothing_runs(installation, run_id)


@pytest.mark.parametrize(
    "name, exit_code, last", [("cancelled", 0, b"stopping\n"), ("cancelled-and-stubborn", 137, b"")]
)
def test_cancelled_running_run_leaves_nothing_running_and_keeps_its_log(
    name: str, exit_code: int, last: bytes, installation: Installation, verifier: RunVerifier, runs: Runs
) -> None:
    run_id = runs[name]
    assert cancel(installation, run_id)["status"] == "running"
    run = installation.launcher.wait(run_id)
    assert_nothing_runs(installation, run_id)
    assert (run["status"], run["reason"], run["exit_code"]) == ("cancelled", "Cancelled", exit_code), run
    assert verifier.wait(run_id) == run
    printed = verifier.output(run_id)
    assert printed == b"up\n" + (last or b"ignored\n")
    assert installation.kubectl("logs", f"job/{run_id}").encode() == printed


# --- finished --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name, act",
    [("pod-of-a-finished-run", delete_pod), ("job-of-a-finished-run", delete_job), ("cancelled-too-late", cancel)],
)
def test_finished_run_does_not_change(
    name: str, act: Any, installation: Installation, verifier: RunVerifier, runs: Runs
) -> None:
    before, log = installation.launcher.status(runs[name]), installation.launcher.log(runs[name])
    act(installation, runs[name])
    if act is not cancel:
        until(lambda: not installation.pods(runs[name]))
    assert verifier.wait(runs[name], deleted=False) == before
    assert installation.launcher.log(runs[name]) == log


def test_run_deleted_before_it_is_recorded_is_recorded_from_what_remains(
    installation: Installation, verifier: RunVerifier, runs: Runs
) -> None:
    without_pod, without_job = runs["pod-before-the-record"], runs["job-before-the-record"]
    installation.operator.stop()
    for run_id in (without_pod, without_job):
        finish_held_run(installation, run_id)
    until(
        lambda: all(
            (installation.job(run_id) or {})["status"].get("succeeded") for run_id in (without_pod, without_job)
        )
    )
    delete_pod(installation, without_pod)
    delete_job(installation, without_job)
    until(lambda: not installation.pods(without_pod) and not installation.pods(without_job))
    installation.operator.start()
    run = verifier.wait(without_pod, gaps_allowed=True, deleted=False)
    assert (run["status"], run["exit_code"]) == ("completed", 0), run  # the Job still shows it
    assert_deleted(installation.launcher.wait(without_job), None)
    for run_id in (without_pod, without_job):
        assert verifier.output(run_id).startswith(b"up\n[slipway] ")  # nobody was reading when "done" was printed
        receipt = installation.launcher.status(run_id)["log"]
        assert not receipt["complete"]
        assert len(receipt["gaps"]) == 1
