"""The Kubernetes engine's view of the queue: listed once, then followed by a watch, without losing a change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from launcher.cluster.port import Listing, Manifest, WatchEvent
from launcher.domain.runs import Run, now
from launcher.engines import queue_view
from launcher.stores.ports import RunQuery
from launching.kubernetes_engine import (
    Harness,
    counts,
    make_job,
    record,
    requested,
    run_scenario,
    submitted,
    until,
)


@pytest.fixture(autouse=True)
def no_caching(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is listed on every call, unless a test says otherwise."""
    monkeypatch.setattr(queue_view, "_FRESH_SECONDS", 0.0)


def test_concurrent_queries_list_the_jobs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_view, "_FRESH_SECONDS", 60.0)

    async def scenario(harness: Harness) -> None:
        run = await harness.engine.submit(requested("1"))
        before = harness.cluster.calls.count("list Job")
        await asyncio.gather(*(harness.engine.place(run.run_id) for _ in range(50)), harness.engine.queue())
        assert harness.cluster.calls.count("list Job") == before == 1

    run_scenario(tmp_path, scenario)


def test_a_watch_shows_every_change_and_the_jobs_are_listed_once(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.engine.start()
        try:
            await until(lambda: "watch Job" in harness.cluster.calls)
            for number in range(5):
                await harness.engine.submit(requested(str(number), created_at=now() + timedelta(seconds=number)))
            harness.release("0-01jd")
            harness.cluster.remove("Job", "1-01jd")
            await until(lambda: counts(harness) == (1, 3))
            place = await harness.engine.place("4-01jd")
            assert place is not None and place.position == 3
            record(harness, "0-01jd")
            await until(lambda: counts(harness) == (0, 3))
            assert [run.run_id for run in (await harness.engine.find(RunQuery()))[0]] == ["4-01jd", "3-01jd", "2-01jd"]
            assert harness.cluster.calls.count("list Job") == 1
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)


def test_a_watch_that_has_ended_is_replaced_and_misses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_view, "_WATCH_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(queue_view, "_WATCH_RETRY_SECONDS", 0.02)

    async def scenario(harness: Harness) -> None:
        await harness.engine.start()
        try:
            for outage in (False, True):
                watches = harness.cluster.calls.count("watch Job")
                if outage:
                    harness.start_outage(times=2)
                harness.cluster.end_watches()
                run = await submitted(harness, requested(f"during-{outage}"))
                await until(lambda: harness.cluster.calls.count("watch Job") > watches)  # noqa: B023 - called here
                harness.release(run.run_id)
                await until(lambda: run.run_id in harness.engine._queue.runs.released)  # noqa: B023 - called here
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)


def test_changes_before_the_latest_list_are_not_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    put = queue_view.LiveRuns.put

    def recorded_put(self: queue_view.LiveRuns, run: Run, job: Manifest) -> None:
        shown.append(run.run_id)
        put(self, run, job)

    monkeypatch.setattr(queue_view.LiveRuns, "put", recorded_put)

    async def scenario(harness: Harness) -> None:
        watch = harness.cluster.watch

        @asynccontextmanager
        async def watch_slowly(kind: str, *, labels: str = "", since: int) -> AsyncIterator[AsyncIterator[WatchEvent]]:
            for name in ("a", "b"):
                harness.cluster.put("Job", make_job(harness, name))
                harness.cluster.remove("Job", f"{name}-01jd")
            await harness.engine.queue()  # lists the Jobs, because there is no watch yet
            harness.cluster.put("Job", make_job(harness, "c"))
            async with watch(kind, labels=labels, since=since) as events:
                yield events

        monkeypatch.setattr(harness.cluster, "watch", watch_slowly)
        await harness.engine.start()
        try:
            await until(lambda: counts(harness) == (0, 1))
            assert shown == ["c-01jd"]
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)


def test_a_list_that_ends_after_the_watch_has_started_loses_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        watch, pages = harness.cluster.watch, harness.cluster.pages
        shown = asyncio.Event()
        lists = 0

        async def paged_slowly(kind: str, *, labels: str = "") -> AsyncIterator[Listing]:
            nonlocal lists
            lists += 1
            found = [page async for page in pages(kind, labels=labels)]
            if lists == 2:
                await shown.wait()
            for page in found:
                yield page

        @asynccontextmanager
        async def watch_during_a_list(
            kind: str, *, labels: str = "", since: int
        ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
            refreshes.append(asyncio.create_task(harness.engine.queue()))
            await until(lambda: lists == 2)
            harness.cluster.put("Job", make_job(harness, "c"))
            async with watch(kind, labels=labels, since=since) as events:
                yield events

        refreshes: list[asyncio.Task[object]] = []
        monkeypatch.setattr(harness.cluster, "pages", paged_slowly)
        monkeypatch.setattr(harness.cluster, "watch", watch_during_a_list)
        await harness.engine.start()
        try:
            await until(lambda: counts(harness) == (0, 1))
            shown.set()
            await asyncio.gather(*refreshes)
            assert counts(harness) == (0, 1)
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)
