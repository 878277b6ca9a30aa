"""The reconciler of one run, from the queue to its record, with the real archive and a fake cluster."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.artifacts.folder import too_many_files
from launcher.cluster import jobs, labels
from launcher.cluster.pods import CREATING, WAITING_FOR_NODE
from launcher.domain.log_lines import LineKind, Receipt
from launcher.domain.reasons import Reason, sentence
from launcher.domain.runs import RunStatus
from launching.harness import (
    DEADLINE_EXCEEDED,
    FIRST_LINE,
    NAME,
    POD,
    Harness,
    RunScenario,
    ended,
    running,
    waiting,
)
from pipeline_operator.decisions import WAITING_FOR_POD
from pipeline_operator.run_objects import POD_REFUSED


def test_a_run_goes_from_the_queue_to_its_record(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        harness.make_job()
        await harness.start()
        assert harness.archived == harness.run
        await harness.release()
        await harness.until(lambda: harness.archived.waiting_for == WAITING_FOR_POD)
        harness.put_pod(node=None)
        await harness.until(lambda: harness.archived.waiting_for == WAITING_FOR_NODE)
        harness.put_pod(**waiting("ContainerCreating"))
        await harness.until(lambda: harness.archived.waiting_for == CREATING)
        await harness.until(lambda: f"log {POD}" in harness.cluster.calls)  # long before its status says Running
        harness.put_pod("Running", **running())
        harness.cluster.say(POD, "one", "two")
        await harness.until(lambda: len(harness.lines) == 3)
        await harness.until(lambda: harness.archived.status is RunStatus.RUNNING)
        assert harness.archived.waiting_for is None
        (harness.storage.artifacts.make(NAME) / "dossier.txt").write_text("all about it")
        harness.cluster.say(POD, "three")
        harness.put_pod("Succeeded", **ended(0))
        run = await harness.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.COMPLETED, "Completed", 0)
        assert run.artifacts == {"dossier_url": "dossier.txt"}
        assert harness.lines == [FIRST_LINE, *((LineKind.LINE, data) for data in (b"one", b"two", b"three"))]
        assert run.log.complete
        assert run.started_at is not None and run.completed_at is not None
        assert run.created_at <= run.started_at <= run.completed_at
        assert harness.job["spec"]["ttlSecondsAfterFinished"] == 86400
        assert not harness.job["spec"]["suspend"]
        assert not [call for call in harness.cluster.calls if call.startswith("delete")]

    run_scenario(scenario)


def test_a_run_cancelled_in_the_queue_is_recorded_and_its_job_deleted(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        harness.make_job()
        await harness.start()
        await harness.cancel()
        run = await harness.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.CANCELLED, "Cancelled", None)
        assert run.cancel_requested
        assert run.started_at is None
        assert run.log == Receipt(complete=True)
        assert not harness.storage.archive.has_log(NAME)
        assert ("Job", NAME) not in harness.cluster.objects

    run_scenario(scenario)


def test_a_run_cancelled_while_running_keeps_its_pod_and_its_last_lines(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_running()
        harness.cluster.say(POD, "one")
        await harness.until(lambda: harness.archived.status is RunStatus.RUNNING)
        await harness.cancel()
        await harness.until(lambda: harness.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        harness.cluster.say(POD, "cleaned up")
        harness.put_pod("Failed", **DEADLINE_EXCEEDED, **ended(143))
        run = await harness.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.CANCELLED, "Cancelled", 143)
        assert harness.lines == [FIRST_LINE, (LineKind.LINE, b"one"), (LineKind.LINE, b"cleaned up")]
        assert ("Pod", POD) in harness.cluster.objects

    run_scenario(scenario)


def test_the_operators_reason_is_stored_before_the_pod_is_stopped(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_released()
        harness.cluster.calls.clear()
        (harness.storage.artifacts.make(NAME) / "large").write_bytes(bytes(1025))
        harness.put_pod("Running", **running())
        await harness.until(lambda: harness.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        patches = [call for call in harness.cluster.calls if call.startswith("patch")]
        assert patches == [f"patch Job {NAME}", f"patch Pod {POD}"]
        assert jobs.termination_reason(harness.job) is Reason.ARTIFACTS_TOO_LARGE
        assert not harness.job["spec"]["suspend"]
        harness.put_pod("Failed", **DEADLINE_EXCEEDED, **ended(143))
        assert (await harness.end()).reason == "ArtifactsTooLarge"

    run_scenario(scenario, MAX_ARTIFACT_BYTES="1024")


def test_too_many_files_terminate_a_run_and_its_record_names_the_limit(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_released()
        at = harness.storage.artifacts.make(NAME)
        for number in range(11):
            (at / str(number)).touch()
        harness.put_pod("Running", **running())
        await harness.until(lambda: harness.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        harness.put_pod("Failed", **DEADLINE_EXCEEDED, **ended(143))
        run = await harness.end()
        assert run.reason == "ArtifactsTooLarge"
        assert run.message == sentence(Reason.ARTIFACTS_TOO_LARGE, detail=too_many_files(10))

    run_scenario(scenario, MAX_ARTIFACT_FILES="10")


def test_a_non_utf_8_name_is_recorded_in_escaped_form(run_scenario: RunScenario, tmp_path: Path) -> None:
    pipelines = tmp_path / "pipelines.yaml"
    pipelines.write_text('default: {command: [x], artifacts: {report_url: "*.pdf"}}')

    async def scenario(harness: Harness) -> None:
        await harness.start_released()
        at = harness.storage.artifacts.make(NAME)
        Path(os.fsdecode(os.fsencode(at) + b"/M\xfcller.pdf")).touch()
        harness.put_pod("Running", **running())
        await harness.until(lambda: harness.archived.status is RunStatus.RUNNING)
        harness.put_pod("Succeeded", **ended(0))
        run = await harness.end()
        assert (run.status, run.artifacts) == (RunStatus.COMPLETED, {"report_url": r"M\xfcller.pdf"})

    run_scenario(scenario, PIPELINES_FILE=str(pipelines))


def test_the_pipelines_exit_codes_do_not_apply_to_a_job_that_names_none(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        harness.make_job()
        del harness.job["metadata"]["annotations"][labels.PIPELINE]
        await harness.start()
        await harness.release()
        harness.put_pod("Failed", **ended(3))
        run = await harness.end()
        assert (run.reason, run.exit_code) == ("PipelineError", 3)

    run_scenario(scenario)


def test_a_job_whose_pod_is_refused_is_suspended_and_stores_the_reason(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        refusal = 'pods "4711-01jd-" is forbidden: exceeded quota'
        event = {
            "metadata": {"name": f"{NAME}.1"},
            "involvedObject": {"kind": "Job", "name": NAME},
            "reason": "FailedCreate",
            "message": refusal,
            "lastTimestamp": "2026-11-24T08:00:00Z",
        }
        harness.cluster.put("Event", event)
        await harness.start_released()
        run = await harness.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "CannotStart")
        assert run.message is not None
        assert run.message.endswith(f"{POD_REFUSED}: {refusal}")
        assert harness.job["spec"]["suspend"]
        assert jobs.termination_reason(harness.job) is Reason.CANNOT_START
        assert jobs.termination_detail(harness.job) == f"{POD_REFUSED}: {refusal}"
        assert f"delete Job {NAME}" not in harness.cluster.calls
        assert harness.lines == [FIRST_LINE, (LineKind.SYSTEM, run.message.encode())]

    run_scenario(scenario, CANNOT_START_GRACE_SECONDS="0")


def test_the_next_operator_knows_why_the_previous_one_terminated_a_run(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_released()
        harness.put_pod(**waiting("ErrImagePull", "not found"))
        await harness.until(lambda: harness.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        await harness.kill()
        harness.put_pod("Failed", **DEADLINE_EXCEEDED, **waiting("ImagePullBackOff", "Back-off"))
        await harness.start()
        run = await harness.end()
        assert run.reason == "ImagePull"
        assert run.message is not None
        assert run.message.endswith("The image image cannot be pulled: not found")

    run_scenario(scenario, IMAGE_GRACE_SECONDS="0")


def test_a_rejected_job_is_suspended_and_finishes_after_its_pod(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        harness.make_job(suspend=False, backoffLimit=6)
        harness.put_pod("Running", **running())
        await harness.start()
        await harness.until(lambda: harness.job["spec"]["suspend"])
        assert not harness.archived.status.terminal
        harness.cluster.remove("Pod", POD)  # as the Job controller deletes the pod of a suspended Job
        run = await harness.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "Rejected")
        assert run.message is not None
        assert "spec.suspend must be true" in run.message
        assert "spec.backoffLimit must be 0" in run.message

    run_scenario(scenario)
