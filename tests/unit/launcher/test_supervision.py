"""The supervision of one run, from the queue to its record: with the real archive, on a cluster that is played."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher.cluster import jobs, labels
from launcher.controller import decisions, supervision
from launcher.domain.errors import ClusterUnavailable
from launcher.domain.loglines import LineKind, LogLine, Receipt
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.logs.publisher import Publisher
from launcher.stores.memory import InMemoryLogTail
from launching.fake_cluster import Manifest
from launching.scene import NAME, POD, Scene, container, ended, running, waiting

LATE: Manifest = {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than …"}
FIRST = (LineKind.SYSTEM, b"Starting pipeline default for job 4711")
Scenario = Callable[[Scene], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Play a scenario on a scene of its own; no wait in it is longer than a few seconds."""

    def played(scenario: Scenario, **environ: str) -> None:
        async def scene() -> None:
            async with AsyncExitStack() as stack:
                scene = Scene(tmp_path, stack, **environ)
                stack.push_async_callback(scene.storage.publisher.stop)
                try:
                    await scenario(scene)
                finally:
                    if scene.following is not None:
                        await scene.kill()

        asyncio.run(scene())

    return played


def test_a_run_goes_from_the_queue_to_its_record(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        assert scene.kept == scene.run
        await scene.release()
        await scene.until(lambda: scene.kept.waiting_for == "Waiting for Kubernetes to make the pod.")
        scene.see_pod(node=None)
        await scene.until(lambda: scene.kept.waiting_for == "Waiting for a node.")
        scene.see_pod(**waiting("ContainerCreating"))
        await scene.until(lambda: "being made" in (scene.kept.waiting_for or ""))
        await scene.until(lambda: f"log {POD}" in scene.cluster.calls)  # long before its status says Running
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one", "two")
        await scene.until(lambda: len(scene.lines) == 3)
        await scene.until(lambda: scene.kept.status is RunStatus.RUNNING)
        assert scene.kept.waiting_for is None
        (scene.storage.artifacts.make(NAME) / "dossier.txt").write_text("all about it")
        scene.cluster.say(POD, "three")
        scene.see_pod("Succeeded", **ended(0))
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.COMPLETED, "Completed", 0)
        assert run.artifacts == {"dossier_url": "dossier.txt"}
        assert scene.lines == [FIRST, *((LineKind.LINE, data) for data in (b"one", b"two", b"three"))]
        assert run.log.complete
        assert run.started_at is not None and run.completed_at is not None
        assert run.created_at <= run.started_at <= run.completed_at
        assert scene.job["spec"]["ttlSecondsAfterFinished"] == 86400
        assert not scene.job["spec"]["suspend"]
        assert not [call for call in scene.cluster.calls if call.startswith("delete")]

    play(scenario)


def test_a_run_that_is_cancelled_in_the_queue_is_recorded_and_its_job_deleted(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.cancel()
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.CANCELLED, "Cancelled", None)
        assert run.cancel_requested
        assert run.started_at is None
        assert run.log == Receipt(complete=True)
        assert not scene.storage.archive.has_log(NAME)
        assert ("Job", NAME) not in scene.cluster.objects

    play(scenario)


def test_a_run_that_is_cancelled_while_it_runs_keeps_its_pod_and_its_last_words(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one")
        await scene.until(lambda: scene.kept.status is RunStatus.RUNNING)
        await scene.cancel()
        await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        scene.cluster.say(POD, "cleaned up")
        scene.see_pod("Failed", **LATE, **ended(143))
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.CANCELLED, "Cancelled", 143)
        assert scene.lines == [FIRST, (LineKind.LINE, b"one"), (LineKind.LINE, b"cleaned up")]
        assert ("Pod", POD) in scene.cluster.objects

    play(scenario)


def test_a_reason_of_the_operators_own_is_stored_before_the_pod_is_ended(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.cluster.calls.clear()
        (scene.storage.artifacts.make(NAME) / "large").write_bytes(bytes(1025))
        scene.see_pod("Running", **running())
        await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        patches = [call for call in scene.cluster.calls if call.startswith("patch")]
        assert patches == ["patch Job", "patch Pod"]
        assert jobs.ended_for(scene.job) is Reason.ARTIFACTS_TOO_LARGE
        assert not scene.job["spec"]["suspend"]
        scene.see_pod("Failed", **LATE, **ended(143))
        assert (await scene.end()).reason == "ArtifactsTooLarge"

    play(scenario, MAX_ARTIFACT_BYTES="1024")


def test_too_many_files_end_a_run_and_its_record_says_so(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        at = scene.storage.artifacts.make(NAME)
        for number in range(11):
            (at / str(number)).touch()
        scene.see_pod("Running", **running())
        await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        scene.see_pod("Failed", **LATE, **ended(143))
        run = await scene.end()
        assert run.reason == "ArtifactsTooLarge"
        assert run.message == (
            "The pipeline's artifacts exceeded a limit. It made more than 10 files and folders (MAX_ARTIFACT_FILES)."
        )

    play(scenario, MAX_ARTIFACT_FILES="10")


def test_a_name_that_is_not_utf_8_is_recorded_with_an_escape(play: Play, tmp_path: Path) -> None:
    pipelines = tmp_path / "pipelines.yaml"
    pipelines.write_text('default: {command: [x], artifacts: {report_url: "*.pdf"}}')

    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        at = scene.storage.artifacts.make(NAME)
        Path(os.fsdecode(os.fsencode(at) + b"/M\xfcller.pdf")).touch()
        scene.see_pod("Running", **running())
        await scene.until(lambda: scene.kept.status is RunStatus.RUNNING)
        scene.see_pod("Succeeded", **ended(0))
        run = await scene.end()
        assert (run.status, run.artifacts) == (RunStatus.COMPLETED, {"report_url": r"M\xfcller.pdf"})

    play(scenario, PIPELINES_FILE=str(pipelines))


def test_lines_come_in_while_the_artifacts_are_counted(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(scene: Scene) -> None:
        gate, counting = threading.Event(), threading.Event()

        def count(run_id: str) -> str:
            counting.set()
            gate.wait(10)
            return ""

        monkeypatch.setattr(scene.storage.artifacts, "_excess", count)
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        await scene.until(counting.is_set)
        scene.cluster.say(POD, "one", "two")
        await scene.until(lambda: len(scene.lines) == 3)
        gate.set()
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).status is RunStatus.COMPLETED

    play(scenario)


@pytest.mark.parametrize("begins", [True, False])
def test_a_record_that_the_disk_refused_is_written_again_and_nothing_is_said_twice(
    play: Play, begins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(scene: Scene) -> None:
        put = scene.storage.archive.put
        refused: list[Run] = []

        def full_disk(run: Run) -> bool:
            if run.status.terminal and not refused:
                refused.append(run)
                raise OSError(errno.ENOSPC, "No space left on device")
            return put(run)

        monkeypatch.setattr(scene.storage.archive, "put", full_disk)
        scene.make_job()
        await scene.supervise()
        await scene.release()
        if begins:
            scene.see_pod("Running", **running())
            scene.cluster.say(POD, "one")
            await scene.until(lambda: len(scene.lines) == 2)
            scene.see_pod("Failed", **ended(3))
        else:
            scene.see_pod(**waiting("InvalidImageName"))
            await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
            scene.see_pod("Failed", **LATE, **waiting("InvalidImageName"))
        await scene.until(lambda: refused)
        lines = scene.lines
        run = await scene.end()
        assert run == refused[0]
        assert run.reason == ("PostingNotFound" if begins else "InvalidImage")
        assert scene.lines == lines == [FIRST, (LineKind.LINE, b"one") if begins else (LineKind.SYSTEM, said(run))]
        assert run.log.complete

    play(scenario)


def said(run: Run) -> bytes:
    """The message of a run that failed before it began: its log says it too."""
    assert run.message
    return run.message.encode()


def test_a_record_that_kubernetes_could_not_take_is_written_again(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        await scene.until(lambda: scene.kept.status is RunStatus.RUNNING)
        scene.cluster.faults["patch Job"] = [ClusterUnavailable("Kubernetes cannot now: etcd leader changed")]
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).status is RunStatus.COMPLETED

    play(scenario)


@pytest.mark.parametrize("suspend", [True, False])
def test_a_job_made_anew_under_the_name_of_an_ended_run_gets_its_record_and_never_runs(
    play: Play, suspend: bool
) -> None:
    async def scenario(scene: Scene) -> None:
        outcome = Outcome(status=RunStatus.COMPLETED, reason=Reason.COMPLETED, message="…", exit_code=0)
        before = scene.run.started(now()).ended(outcome, now(), Receipt(complete=True))
        scene.storage.recorder.record(before)
        scene.make_job(suspend=suspend)
        await scene.supervise()
        assert await scene.end() == before
        assert scene.job["spec"]["suspend"]
        assert scene.job["spec"]["ttlSecondsAfterFinished"] == 86400
        assert not scene.picture.sight(NAME).busy
        assert not scene.storage.archive.has_log(NAME)

    play(scenario)


def test_a_job_made_anew_while_its_run_waits_ends_that_run_and_is_left_alone_by_it(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        first = scene.make_job()
        await scene.supervise()
        scene.cluster.take_away("Job", NAME)
        second = scene.make_job()
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
        assert scene.following is not None
        async with asyncio.timeout(4):
            await scene.following
        assert (scene.kept.status, scene.kept.reason) == (RunStatus.FAILED, "Deleted")
        assert scene.job == second
        await scene.supervise()  # as the controller does when the first one is done
        assert (await scene.end()).reason == "Deleted"

    play(scenario)


def test_a_log_that_cannot_be_read_for_an_unknown_reason_is_tried_again_and_loses_no_line(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(scene: Scene) -> None:
        scene.cluster.faults["log"] = [RuntimeError("what nobody thought of")]
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod(**waiting("ContainerCreating"))
        await scene.until(lambda: not scene.cluster.faults["log"])
        scene.cluster.say(POD, "one")
        scene.see_pod("Running", **running())
        await scene.until(lambda: len(scene.lines) == 2)
        scene.cluster.say(POD, "two")
        scene.see_pod("Succeeded", **ended(0))
        run = await scene.end()
        assert run.log.complete
        assert scene.lines == [FIRST, (LineKind.LINE, b"one"), (LineKind.LINE, b"two")]
        assert "it is tried again" in caplog.text

    play(scenario)


def test_a_log_that_breaks_off_is_read_on_from_where_it_was(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one", "two")
        await scene.until(lambda: len(scene.lines) == 3)
        await scene.kill()
        scene.cluster.faults["log"] = [ClusterUnavailable("Kubernetes does not answer")] * 2
        scene.cluster.say(POD, "three")
        await scene.supervise()
        await scene.until(lambda: len(scene.lines) == 4)
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).log.complete
        assert [data for _, data in scene.lines[1:]] == [b"one", b"two", b"three"]

    play(scenario)


def test_a_log_that_has_ended_is_not_read_again_at_each_news_before_the_pods_end(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one")
        await scene.until(lambda: len(scene.lines) == 2)
        asked = scene.cluster.calls.count(f"log {POD}")
        scene.see_pod("Running", **ended(0))
        for _ in range(5):
            await asyncio.sleep(0.02)
            scene.cluster.put("Job", {**scene.job, "status": {"ready": 0}})
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).log.complete
        assert scene.cluster.calls.count(f"log {POD}") == asked + 1  # for the last line alone, to be sure of it

    play(scenario)


def test_a_job_that_names_no_pipeline_has_exit_codes_of_its_own(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        del scene.job["metadata"]["annotations"][labels.PIPELINE]
        await scene.supervise()
        await scene.release()
        scene.see_pod("Failed", **ended(3))
        run = await scene.end()
        assert (run.reason, run.exit_code) == ("PipelineError", 3)

    play(scenario)


def test_a_finished_job_whose_pods_news_is_late_waits_for_the_listing_of_pods(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.cluster.told = {"Job"}
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.cluster.say(POD, "one")
        scene.see_pod("Failed", **ended(3))
        await scene.until(lambda: scene.kept.waiting_for)
        assert scene.picture.sight(NAME).pod is None
        scene.finish_job("Failed")
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.FAILED, "PostingNotFound", 3)
        assert scene.lines == [FIRST, (LineKind.LINE, b"one")]
        assert scene.cluster.calls.count("list Pod") == 1

    play(scenario)


def test_a_run_that_nobody_saw_start_is_completed_all_the_same(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.finish_job("Complete")  # and its pod was deleted before anybody looked
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.COMPLETED, "Completed", 0)
        assert run.started_at is not None
        assert run.completed_at is not None
        assert run.created_at <= run.started_at <= run.completed_at

    play(scenario)


def test_what_happened_while_no_operator_was_there_has_the_pods_own_times(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        begun, done = datetime(2026, 11, 24, 8, 0, 2, tzinfo=UTC), datetime(2026, 11, 24, 8, 0, 9, tzinfo=UTC)
        created = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
        scene.run = Run(run_id=NAME, job_id="4711", created_at=created, updated_at=created)
        scene.make_job()
        await scene.release()
        state = {"exitCode": 0, "reason": "Completed", "startedAt": f"{begun:%FT%TZ}", "finishedAt": f"{done:%FT%TZ}"}
        scene.see_pod("Succeeded", **container(terminated=state))
        await scene.supervise()
        run = await scene.end()
        assert (run.started_at, run.completed_at) == (begun, done)

    play(scenario)


def test_a_job_without_a_pod_that_is_given_up_is_suspended_and_says_why(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        refusal = 'pods "4711-01jd-" is forbidden: exceeded quota'
        event = {
            "metadata": {"name": f"{NAME}.1"},
            "involvedObject": {"kind": "Job", "name": NAME},
            "reason": "FailedCreate",
            "message": refusal,
            "lastTimestamp": "2026-11-24T08:00:00Z",
        }
        scene.cluster.put("Event", event)
        scene.make_job()
        await scene.supervise()
        await scene.release()
        run = await scene.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "CannotStart")
        assert run.message is not None
        assert run.message.endswith(f"Kubernetes refuses the pod: {refusal}")
        assert scene.job["spec"]["suspend"]
        assert jobs.ended_for(scene.job) is Reason.CANNOT_START
        assert jobs.end_detail(scene.job) == f"Kubernetes refuses the pod: {refusal}"
        assert "delete Job" not in scene.cluster.calls
        assert scene.lines == [FIRST, (LineKind.SYSTEM, run.message.encode())]

    play(scenario, CANNOT_START_GRACE_SECONDS="0")


def test_the_next_operator_knows_why_the_one_before_ended_a_run(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod(**waiting("ErrImagePull", "not found"))
        await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        await scene.kill()
        scene.see_pod("Failed", **LATE, **waiting("ImagePullBackOff", "Back-off"))
        await scene.supervise()
        run = await scene.end()
        assert run.reason == "ImagePull"
        assert run.message is not None
        assert run.message.endswith("The image image cannot be pulled: not found")

    play(scenario, IMAGE_GRACE_SECONDS="0")


def test_a_job_that_is_no_run_is_suspended_and_ends_only_when_its_pod_has(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job(suspend=False, backoffLimit=6)
        scene.see_pod("Running", **running())
        await scene.supervise()
        await scene.until(lambda: scene.job["spec"]["suspend"])
        assert not scene.kept.status.terminal
        scene.cluster.take_away("Pod", POD)  # as the Job controller does with a suspended Job's
        run = await scene.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "Rejected")
        assert run.message is not None
        assert "spec.suspend must be true" in run.message
        assert "spec.backoffLimit must be 0" in run.message

    play(scenario)


class Tail(InMemoryLogTail):
    """A tail that takes nothing before it is free."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.free = asyncio.Event()
        self.numbers: list[int] = []

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, anew: bool = False) -> None:
        await self.free.wait()
        self.numbers += [line.number for line in lines]
        await super().publish(run_id, lines, anew=anew)


class AskedPublisher(Publisher):
    """One that counts who waits for it."""

    asked = 0

    def owes(self, run_id: str) -> bool:
        self.asked += 1
        return super().owes(run_id)


def test_a_tail_that_a_killed_operator_left_short_is_whole_before_the_job_says_recorded(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        limit = scene.settings.LOG_BUFFER_LIMIT

        async def begin() -> tuple[Tail, AskedPublisher]:
            tail = Tail(limit)
            publisher = AskedPublisher(scene.storage.archive, tail, limit)
            scene.storage = replace(scene.storage, publisher=publisher)
            await scene.supervise()
            return tail, publisher

        scene.make_job()
        killed, publisher = await begin()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one", "two")
        scene.see_pod("Succeeded", **ended(0))
        await scene.until(lambda: scene.kept.status.terminal)
        await scene.until(lambda: publisher.asked)
        await scene.kill()
        await publisher.stop()
        assert killed.numbers == []
        tail, publisher = await begin()
        await scene.until(lambda: publisher.asked > 2)  # so it waits
        assert jobs.phase_of(scene.job) == "released"
        tail.free.set()
        await scene.end()
        assert tail.numbers == [1, 2, 3]

    play(scenario)


def test_a_run_waits_while_kubernetes_is_away_and_is_given_its_time_afterwards(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(decisions, "_SETTLING", timedelta(seconds=1))

    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        scene.cluster.faults["list Pod"] = [ClusterUnavailable("Kubernetes does not answer")] * 3
        await scene.release()
        await scene.until(lambda: not scene.cluster.faults["list Pod"])  # longer than the run's patience: 3 retries
        scene.see_pod("Running", **running())
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).status is RunStatus.COMPLETED

    play(scenario, CANNOT_START_GRACE_SECONDS="1")


@pytest.mark.parametrize("with_pod", [True, False])
def test_a_run_that_can_never_be_handled_is_stopped_and_gets_its_end(
    play: Play, monkeypatch: pytest.MonkeyPatch, with_pod: bool
) -> None:
    monkeypatch.setattr(supervision, "_RETRY_SECONDS", 0.01)

    def broken(*_: object) -> object:
        raise ValueError("what nobody thought of")

    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        if with_pod:
            scene.see_pod("Running", **running())
            scene.cluster.say(POD, "one")
            await scene.until(lambda: len(scene.lines) == 2)
        monkeypatch.setattr(supervision, "next_step", broken)
        scene.cluster.put("Job", {**scene.job, "status": {"ready": 0}})
        if with_pod:
            await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
            scene.see_pod("Failed", **LATE, **ended(143))
        run = await scene.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "InternalError")
        assert "what nobody thought of" in (run.message or "")
        assert with_pod or scene.job["spec"]["suspend"]

    play(scenario)


def test_a_log_that_can_never_be_kept_does_not_hold_back_the_end(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_RETRY_SECONDS", 0.01)

    async def scenario(scene: Scene) -> None:
        (scene.settings.ARCHIVE_DIR / NAME / "log").mkdir(parents=True)
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.see_pod("Succeeded", **ended(0))
        assert scene.following is not None
        async with asyncio.timeout(4):
            await scene.following
        assert (scene.kept.status, scene.kept.log.complete) == (RunStatus.COMPLETED, False)
        assert scene.kept.log.gaps

    play(scenario)
