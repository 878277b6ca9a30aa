from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from launcher.domain.days import StatusCounts
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run, RunStatus
from launcher.engines.run_history import RunHistory
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryRunStore

AT = datetime(2026, 11, 24, 8, tzinfo=UTC)
EDGES = [AT, AT + timedelta(days=1)]


class Unavailable(InMemoryRunStore):
    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        raise StoreUnavailable


def run(name: str) -> Run:
    return Run(run_id=name, job_id="4711", created_at=AT, updated_at=AT)


def test_runs_that_the_history_does_not_have_yet_are_added_to_its_counts(tmp_path: Path) -> None:
    async def check() -> None:
        history = InMemoryRunStore()
        await history.put(run("a").started(AT))
        counts = RunHistory(history, Archive(tmp_path))
        found = await counts.count_between(EDGES, [run("a"), run("new"), run("newer")])
        assert found == [{RunStatus.RUNNING: 1, RunStatus.QUEUED: 2}]

    asyncio.run(check())


def test_the_archive_is_counted_if_the_history_is_unavailable(tmp_path: Path) -> None:
    async def check() -> None:
        archive = Archive(tmp_path)
        for number in range(700):
            archive.put(run(f"a-{number}"))
        for history in (None, Unavailable()):
            found = await RunHistory(history, archive).count_between(EDGES, [run("a-1"), run("new")])
            assert found == [{RunStatus.QUEUED: 701}]

    asyncio.run(check())


def test_the_same_query_within_seconds_returns_the_same_result(tmp_path: Path) -> None:
    async def check() -> None:
        history = InMemoryRunStore()
        counts = RunHistory(history, Archive(tmp_path))
        first = await counts.count_between(EDGES, [])
        await history.put(run("a"))
        assert await counts.count_between(EDGES, []) is first
        assert await counts.count_between([*EDGES, AT + timedelta(days=2)], []) == [{RunStatus.QUEUED: 1}, {}]

    asyncio.run(check())
