"""The recorder keeps every end, whatever the archive or a store answers."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher import recorder
from launcher.domain.errors import StoreUnavailable
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import cancelled_before_start, failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run, RunStatus
from launcher.recorder import Mirror, Recorder
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryRunStore, InMemoryWorkItems

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
RUN = Run(run_id="a", job_id="1", created_at=AT, updated_at=AT)
END = RUN.finished(cancelled_before_start(), AT, Receipt())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "_RETRY_SECONDS",
        "_DISK_FULL_RETRY_SECONDS",
        "RECONCILE_INTERVAL_SECONDS",
        "PING_INTERVAL_SECONDS",
    ):
        monkeypatch.setattr(recorder, name, 0.01)


def play(folder: Path, scenario: Callable[[Archive, InMemoryRunStore, Recorder], Awaitable[None]]) -> None:
    async def played() -> None:
        archive, store = Archive(folder), InMemoryRunStore()
        kept = Recorder(archive, [Mirror("store", store)])
        kept.start()
        async with asyncio.timeout(10):
            await scenario(archive, store, kept)
        await kept.stop()

    asyncio.run(played())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.005)


def failing(archive: Archive, *answers: Exception) -> None:
    put, left = archive.put, list(answers)

    def faulty(run: Run) -> bool:
        if left and run.status.terminal:
            raise left.pop(0)
        return put(run)

    archive.put = faulty  # type: ignore[method-assign]


def test_an_end_waits_for_room_on_a_full_disk(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, kept: Recorder) -> None:
        failing(archive, *[OSError(errno.ENOSPC, "No space left on device")] * 20)
        assert await kept.record_outcome(END) == END
        assert archive.get("a") == END

    play(tmp_path, scenario)


def test_an_end_that_cannot_be_written_is_kept_without_what_came_from_outside(tmp_path: Path) -> None:
    odd = replace(END, message="half an emoji: \ud83d", artifacts={"report_url": "M\udcfcller.pdf"})

    async def scenario(archive: Archive, store: InMemoryRunStore, kept: Recorder) -> None:
        ended = await kept.record_outcome(odd)
        assert ended.status is END.status and ended.reason == END.reason
        assert archive.get("a") == ended
        assert ended.artifacts == {} and ended.message == "half an emoji: \\ud83d Its files could not be recorded."

    play(tmp_path, scenario)


def test_an_end_that_the_archive_refuses_is_with_the_stores_and_later_in_the_archive(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, kept: Recorder) -> None:
        failing(archive, *[OSError(errno.EIO, "Input/output error")] * 8)
        ended = await kept.record_outcome(END)
        await until(lambda: has(store, ended))
        while archive.get("a") != ended:
            await asyncio.sleep(0.005)

    play(tmp_path, scenario)


async def has(store: InMemoryRunStore, run: Run) -> bool:
    return await store.get(run.run_id) == run


def test_a_record_that_a_store_cannot_hold_is_tried_a_few_times_and_keeps_no_other_from_it(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, kept: Recorder) -> None:
        put, tries = store.put, 0

        async def faulty(run: Run) -> bool:
            nonlocal tries
            if run.run_id == "a":
                tries += 1
                raise ValueError("what nobody thought of")
            return await put(run)

        store.put = faulty  # type: ignore[method-assign]
        other = replace(RUN, run_id="b")
        kept.record(RUN)
        kept.record(other)
        await until(lambda: has(store, other))
        while tries < 3:
            await asyncio.sleep(0.005)

    play(tmp_path, scenario)


def test_a_change_that_comes_between_costs_no_end_and_a_first_end_stays(tmp_path: Path) -> None:
    async def scenario(archive: Archive, store: InMemoryRunStore, kept: Recorder) -> None:
        started = RUN.started(AT)
        kept.record(started)
        ended = started.finished(failure(Reason.PIPELINE_ERROR, exit_code=3), AT, Receipt())
        kept.record(started.cancelling(AT))  # the same revision as the end's
        recorded = await kept.record_outcome(ended)
        assert (recorded.status, recorded.cancel_requested) == (RunStatus.FAILED, True)
        assert archive.get("a") == recorded
        assert await kept.record_outcome(started.finished(cancelled_before_start(), AT, Receipt())) == recorded

    play(tmp_path, scenario)


def test_a_work_item_that_cannot_be_written_costs_neither_the_runs_document_nor_another_runs(tmp_path: Path) -> None:
    class Refusing(InMemoryWorkItems):
        async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
            if run.job_id == "refused":
                raise ValueError("the item's document is too large")
            return await super().mark(run, artifact_urls)

    async def scenario() -> None:
        archive, store, items = Archive(tmp_path), InMemoryRunStore(), Refusing({"taken": {}})
        mirror = Mirror("store", store, items=items)
        kept = Recorder(archive, [mirror])
        kept.start()
        refused, taken = replace(RUN, run_id="a", job_id="refused"), replace(RUN, run_id="b", job_id="taken")
        kept.record(refused)
        kept.record(taken)
        async with asyncio.timeout(10):
            await until(lambda: has(store, refused))
            await until(lambda: has(store, taken))
            while mirror.backlog:
                await asyncio.sleep(0.005)
        assert items.items["taken"]["pipeline_run_id"] == "b"
        await kept.stop()

    asyncio.run(scenario())


def test_a_store_that_is_away_after_its_work_item_was_refused_gets_the_document_later(tmp_path: Path) -> None:
    class Away(InMemoryRunStore):
        tries = 0

        async def put(self, run: Run) -> bool:
            self.tries += 1
            if self.tries == 1:
                raise StoreUnavailable("down")
            return await super().put(run)

    class Refusing(InMemoryWorkItems):
        async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
            raise ValueError("the item's document is too large")

    async def scenario() -> None:
        archive, store = Archive(tmp_path), Away()
        kept = Recorder(archive, [Mirror("store", store, items=Refusing({}))])
        kept.start()
        kept.record(RUN)
        async with asyncio.timeout(10):
            await until(lambda: has(store, RUN))
        await kept.stop()

    asyncio.run(scenario())
