"""A run's log in the operator: followed, interrupted and resumed, with the real archive and a fake cluster."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from launcher.cluster import jobs
from launcher.domain.errors import ClusterUnavailable
from launcher.domain.log_lines import LineKind, LogLine, TimestampedPiece
from launcher.domain.runs import RunStatus
from launcher.domain.timestamped_lines import ResumePoint
from launcher.logs.publisher import Publisher
from launcher.stores.log_file import LogWriter
from launcher.stores.memory import InMemoryLogTail
from launching.harness import FIRST_LINE, NAME, POD, Harness, RunScenario, ended, running, waiting
from pipeline_operator import backoff, pod_log


def test_lines_are_read_while_the_artifacts_are_counted(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        gate, counting = threading.Event(), threading.Event()

        def count(run_id: str) -> str:
            counting.set()
            gate.wait(10)
            return ""

        monkeypatch.setattr(harness.storage.artifacts, "_excess", count)
        await harness.start_running()
        await harness.until(counting.is_set)
        harness.cluster.say(POD, "one", "two")
        await harness.until(lambda: len(harness.lines) == 3)
        gate.set()
        harness.put_pod("Succeeded", **ended(0))
        assert (await harness.end()).status is RunStatus.COMPLETED

    run_scenario(scenario)


def test_a_disk_that_cannot_be_read_for_a_while_costs_no_line(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        resume_point = LogWriter.resume_point
        refused: list[LogWriter] = []

        def failing_disk(writer: LogWriter) -> ResumePoint:
            if len(refused) <= backoff.MAX_FAULTS:
                refused.append(writer)
                raise OSError(errno.EIO, "Input/output error")
            return resume_point(writer)

        monkeypatch.setattr(pod_log, "_DISK_RETRY_SECONDS", 0.001)
        monkeypatch.setattr(LogWriter, "resume_point", failing_disk)
        await harness.start_running()
        harness.cluster.say(POD, "one")
        await harness.until(lambda: harness.lines == [FIRST_LINE, (LineKind.LINE, b"one")])
        harness.put_pod("Succeeded", **ended(0))
        assert (await harness.end()).log.complete

    run_scenario(scenario)


def test_a_log_is_closed_before_its_reconciler_stops_however_often_that_is_requested(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        writing, gate, closed = threading.Event(), threading.Event(), threading.Event()
        append, close = LogWriter.append, LogWriter.close

        def slow_append(writer: LogWriter, pieces: Sequence[TimestampedPiece]) -> int:
            if writer.last_number > 0:
                writing.set()
                gate.wait(10)
            return append(writer, pieces)

        def noted_close(writer: LogWriter) -> None:
            close(writer)
            closed.set()

        monkeypatch.setattr(LogWriter, "append", slow_append)
        monkeypatch.setattr(LogWriter, "close", noted_close)
        await harness.start_running()
        harness.cluster.say(POD, "one")
        await harness.until(writing.is_set)
        assert harness.task is not None
        try:
            for _ in range(3):  # as `Tasks.stop` does while the disk is slow
                harness.task.cancel()
                await asyncio.sleep(0.005)
            assert not harness.task.done()
        finally:
            gate.set()
        await asyncio.wait([harness.task])
        assert closed.is_set()
        assert harness.lines == [FIRST_LINE, (LineKind.LINE, b"one")]

    run_scenario(scenario)


def test_a_log_is_read_again_after_an_unexpected_error_and_loses_no_line(
    run_scenario: RunScenario, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(harness: Harness) -> None:
        harness.cluster.faults["log"] = [RuntimeError("unexpected")]
        await harness.start_released()
        harness.put_pod(**waiting("ContainerCreating"))
        await harness.until(lambda: not harness.cluster.faults["log"])
        harness.cluster.say(POD, "one")
        harness.put_pod("Running", **running())
        await harness.until(lambda: len(harness.lines) == 2)
        harness.cluster.say(POD, "two")
        harness.put_pod("Succeeded", **ended(0))
        run = await harness.end()
        assert run.log.complete
        assert harness.lines == [FIRST_LINE, (LineKind.LINE, b"one"), (LineKind.LINE, b"two")]
        assert "trying again" in caplog.text

    run_scenario(scenario)


def test_an_interrupted_log_is_resumed(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_running()
        harness.cluster.say(POD, "one", "two")
        await harness.until(lambda: len(harness.lines) == 3)
        await harness.kill()
        harness.cluster.faults["log"] = [ClusterUnavailable("Kubernetes does not answer")] * 2
        harness.cluster.say(POD, "three")
        await harness.start()
        await harness.until(lambda: len(harness.lines) == 4)
        harness.put_pod("Succeeded", **ended(0))
        assert (await harness.end()).log.complete
        assert [data for _, data in harness.lines[1:]] == [b"one", b"two", b"three"]

    run_scenario(scenario)


def test_a_log_at_its_end_is_not_read_again_at_each_change_of_the_pod(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_running()
        harness.cluster.say(POD, "one")
        await harness.until(lambda: len(harness.lines) == 2)
        reads = harness.cluster.calls.count(f"log {POD}")
        harness.put_pod("Running", **ended(0))
        for _ in range(5):
            await asyncio.sleep(0.02)
            harness.cluster.put("Job", {**harness.job, "status": {"ready": 0}})
        harness.put_pod("Succeeded", **ended(0))
        assert (await harness.end()).log.complete
        assert harness.cluster.calls.count(f"log {POD}") == reads + 1  # once more, to be sure of the last line

    run_scenario(scenario)


class Tail(InMemoryLogTail):
    """A tail that accepts no lines until `free` is set."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.free = asyncio.Event()
        self.numbers: list[int] = []

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        await self.free.wait()
        self.numbers += [line.number for line in lines]
        await super().publish(run_id, lines, replace=replace)


class CountingPublisher(Publisher):
    """A publisher that counts the calls of `pending`."""

    queries = 0

    def pending(self, run_id: str) -> bool:
        self.queries += 1
        return super().pending(run_id)


def test_a_tail_left_short_by_a_killed_operator_is_completed_before_the_job_is_recorded(
    run_scenario: RunScenario,
) -> None:
    async def scenario(harness: Harness) -> None:
        limit = harness.settings.LOG_BUFFER_LIMIT

        async def start_operator() -> tuple[Tail, CountingPublisher]:
            tail = Tail(limit)
            publisher = CountingPublisher(harness.storage.archive, tail, limit)
            harness.recording = replace(harness.recording, publisher=publisher)
            await harness.start()
            return tail, publisher

        harness.make_job()
        killed, publisher = await start_operator()
        await harness.release()
        harness.put_pod("Running", **running())
        harness.cluster.say(POD, "one", "two")
        harness.put_pod("Succeeded", **ended(0))
        await harness.until(lambda: harness.archived.status.terminal)
        await harness.until(lambda: publisher.queries)
        await harness.kill()
        await publisher.stop()
        assert killed.numbers == []
        tail, publisher = await start_operator()
        await harness.until(lambda: publisher.queries > 2)  # so the reconciler waits
        assert jobs.phase_of(harness.job) == "released"
        tail.free.set()
        await harness.end()
        assert tail.numbers == [1, 2, 3]

    run_scenario(scenario)


def test_a_log_that_cannot_be_written_does_not_delay_the_outcome(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        (harness.settings.ARCHIVE_DIR / NAME / "log").mkdir(parents=True)
        await harness.start_running()
        harness.put_pod("Succeeded", **ended(0))
        assert harness.task is not None
        async with asyncio.timeout(4):
            await harness.task
        assert (harness.archived.status, harness.archived.log.complete) == (RunStatus.COMPLETED, False)
        assert harness.archived.log.gaps

    run_scenario(scenario)
