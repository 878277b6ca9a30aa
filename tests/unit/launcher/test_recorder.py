"""The recorder keeps every outcome, whatever fails in the archive or a store."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher import recorder as recorder_module
from launcher.domain.errors import StoreUnavailable
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import cancelled_before_start, failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run, RunStatus
from launcher.mirror import Mirror
from launcher.recorder import Recorder
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryRunStore, InMemoryWorkItems
from launcher.stores.watch import StoreWatch

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
RUN = Run(run_id="a", job_id="1", created_at=AT, updated_at=AT)
FINISHED = RUN.finished(cancelled_before_start(), AT, Receipt())


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_RETRY_SECONDS", "_DISK_FULL_RETRY_SECONDS", "RECONCILE_INTERVAL_SECONDS"):
        monkeypatch.setattr(recorder_module, name, 0.01)


def run_scenario(folder: Path, scenario: Callable[[Archive, InMemoryRunStore, Recorder], Awaitable[None]]) -> None:
    async def bounded() -> None:
        archive, store = Archive(folder), InMemoryRunStore()
        recorder = Recorder(archive, [Mirror(StoreWatch("store", store))])
        recorder.start()
        async with asyncio.timeout(10):
            await scenario(archive, store, recorder)
        await recorder.stop()

    asyncio.run(bounded())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.005)


def fail_with(archive: Archive, *answers: Exception) -> None:
    put, left = archive.put, list(answers)

    def faulty(run: Run) -> bool:
        if left and run.status.terminal:
            raise left.pop(0)
        return put(run)

    archive.put = faulty  # type: ignore[method-assign]


def test_stores_are_compared_with_the_archive_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_BATCH", 2)
    sizes: list[int] = []
    reconcile = Mirror.reconcile

    async def counted(self: Mirror, runs: Sequence[Run]) -> int:
        sizes.append(len(runs))
        return await reconcile(self, runs)

    monkeypatch.setattr(Mirror, "reconcile", counted)

    async def scenario(archive: Archive, store: InMemoryRunStore, recorder: Recorder) -> None:
        runs = [replace(RUN, run_id=f"r{number}") for number in range(5)]
        for run in runs:
            archive.put(run)  # without the recorder, as if the store had lost them
        await until(lambda: all_stored(store, runs))
        assert max(sizes) == 2

    run_scenario(tmp_path, scenario)


def test_a_store_that_is_down_is_asked_once_while_the_others_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_BATCH", 1)
    monkeypatch.setattr(recorder_module, "RECONCILE_INTERVAL_SECONDS", 60.0)
    asked = 0

    class Down(InMemoryRunStore):
        async def revisions(self, run_ids: Sequence[str]) -> Mapping[str, int]:
            nonlocal asked
            asked += 1
            raise StoreUnavailable

    async def scenario() -> None:
        archive, store = Archive(tmp_path), InMemoryRunStore()
        runs = [replace(RUN, run_id=f"r{number}") for number in range(5)]
        for run in runs:
            archive.put(run)
        recorder = Recorder(archive, [Mirror(StoreWatch("down", Down())), Mirror(StoreWatch("store", store))])
        recorder.start()
        async with asyncio.timeout(10):
            await until(lambda: all_stored(store, runs))
        await recorder.stop()
        assert asked == 1

    asyncio.run(scenario())


async def all_stored(store: InMemoryRunStore, runs: Sequence[Run]) -> bool:
    return [await store.get(run.run_id) for run in runs] == list(runs)


def test_a_run_recorded_in_a_thread_reaches_archive_and_stores(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, recorder: Recorder) -> None:
        assert await recorder.record_in_thread(RUN)
        assert archive.get("a") == RUN
        await until(lambda: all_stored(store, [RUN]))
        assert not await recorder.record_in_thread(RUN)

    run_scenario(tmp_path, scenario)


def test_an_outcome_waits_for_room_on_a_full_disk(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, recorder: Recorder) -> None:
        fail_with(archive, *[OSError(errno.ENOSPC, "No space left on device")] * 20)
        assert await recorder.record_outcome(FINISHED) == FINISHED
        assert archive.get("a") == FINISHED

    run_scenario(tmp_path, scenario)


def test_an_outcome_that_cannot_be_written_is_recorded_without_external_data(tmp_path: Path) -> None:
    odd = replace(FINISHED, message="half an emoji: \ud83d", artifacts={"report_url": "M\udcfcller.pdf"})

    async def scenario(archive: Archive, store: InMemoryRunStore, recorder: Recorder) -> None:
        recorded = await recorder.record_outcome(odd)
        assert recorded.status is FINISHED.status and recorded.reason == FINISHED.reason
        assert archive.get("a") == recorded
        assert recorded.artifacts == {}
        assert recorded.message == "half an emoji: \\ud83d Its files could not be recorded."

    run_scenario(tmp_path, scenario)


def test_an_outcome_that_the_archive_refuses_reaches_the_stores_and_later_the_archive(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, recorder: Recorder) -> None:
        fail_with(archive, *[OSError(errno.EIO, "Input/output error")] * 8)
        recorded = await recorder.record_outcome(FINISHED)
        await until(lambda: has(store, recorded))
        while archive.get("a") != recorded:
            await asyncio.sleep(0.005)

    run_scenario(tmp_path, scenario)


async def has(store: InMemoryRunStore, run: Run) -> bool:
    return await store.get(run.run_id) == run


def test_a_record_that_a_store_rejects_is_retried_and_blocks_no_other(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, recorder: Recorder) -> None:
        put, tries = store.put, 0

        async def faulty(run: Run) -> bool:
            nonlocal tries
            if run.run_id == "a":
                tries += 1
                raise ValueError("something unforeseen")
            return await put(run)

        store.put = faulty  # type: ignore[method-assign]
        other = replace(RUN, run_id="b")
        recorder.record(RUN)
        recorder.record(other)
        await until(lambda: has(store, other))
        while tries < 3:
            await asyncio.sleep(0.005)

    run_scenario(tmp_path, scenario)


def test_a_concurrent_change_loses_no_outcome_and_the_first_outcome_stays(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, recorder: Recorder) -> None:
        started = RUN.started(AT)
        recorder.record(started)
        failed = started.finished(failure(Reason.PIPELINE_ERROR, exit_code=3), AT, Receipt())
        recorder.record(started.cancelling(AT))  # the same revision as the outcome
        recorded = await recorder.record_outcome(failed)
        assert (recorded.status, recorded.cancel_requested) == (RunStatus.FAILED, True)
        assert archive.get("a") == recorded
        assert await recorder.record_outcome(started.finished(cancelled_before_start(), AT, Receipt())) == recorded

    run_scenario(tmp_path, scenario)


def test_a_work_item_that_cannot_be_written_affects_neither_its_runs_document_nor_others(tmp_path: Path) -> None:
    class RejectingItems(InMemoryWorkItems):
        async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
            if run.job_id == "rejected":
                raise ValueError("the item's document is too large")
            return await super().mark(run, artifact_urls)

    async def scenario() -> None:
        archive, store, items = Archive(tmp_path), InMemoryRunStore(), RejectingItems({"accepted": {}})
        mirror = Mirror(StoreWatch("store", store), items=items)
        recorder = Recorder(archive, [mirror])
        recorder.start()
        rejected, accepted = replace(RUN, run_id="a", job_id="rejected"), replace(RUN, run_id="b", job_id="accepted")
        recorder.record(rejected)
        recorder.record(accepted)
        async with asyncio.timeout(10):
            await until(lambda: has(store, rejected))
            await until(lambda: has(store, accepted))
            while mirror.backlog:
                await asyncio.sleep(0.005)
        assert items.items["accepted"]["pipeline_run_id"] == "b"
        await recorder.stop()

    asyncio.run(scenario())


def test_a_store_that_is_down_after_its_work_item_was_rejected_receives_the_document_later(tmp_path: Path) -> None:
    class FailingOnce(InMemoryRunStore):
        tries = 0

        async def put(self, run: Run) -> bool:
            self.tries += 1
            if self.tries == 1:
                raise StoreUnavailable("down")
            return await super().put(run)

    class RejectingItems(InMemoryWorkItems):
        async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
            raise ValueError("the item's document is too large")

    async def scenario() -> None:
        archive, store = Archive(tmp_path), FailingOnce()
        recorder = Recorder(archive, [Mirror(StoreWatch("store", store), items=RejectingItems({}))])
        recorder.start()
        recorder.record(RUN)
        async with asyncio.timeout(10):
            await until(lambda: has(store, RUN))
        await recorder.stop()

    asyncio.run(scenario())
