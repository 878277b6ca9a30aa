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


class Away(InMemoryRunStore):
    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        raise StoreUnavailable


def run(name: str) -> Run:
    return Run(run_id=name, job_id="4711", created_at=AT, updated_at=AT)


def test_the_history_counts_and_runs_that_it_does_not_know_yet_are_added(tmp_path: Path) -> None:
    async def check() -> None:
        history = InMemoryRunStore()
        await history.put(run("a").started(AT))
        counts = RunHistory(history, Archive(tmp_path))
        found = await counts.count_between(EDGES, [run("a"), run("new"), run("newer")])
        assert found == [{RunStatus.RUNNING: 1, RunStatus.QUEUED: 2}]

    asyncio.run(check())


def test_without_a_history_that_answers_the_archive_is_counted(tmp_path: Path) -> None:
    async def check() -> None:
        archive = Archive(tmp_path)
        for number in range(700):
            archive.put(run(f"a-{number}"))
        for history in (None, Away()):
            found = await RunHistory(history, archive).count_between(EDGES, [run("a-1"), run("new")])
            assert found == [{RunStatus.QUEUED: 701}]

    asyncio.run(check())


def test_who_asks_the_same_within_seconds_gets_the_same_answer(tmp_path: Path) -> None:
    async def check() -> None:
        history = InMemoryRunStore()
        counts = RunHistory(history, Archive(tmp_path))
        first = await counts.count_between(EDGES, [])
        await history.put(run("a"))
        assert await counts.count_between(EDGES, []) is first
        assert await counts.count_between([*EDGES, AT + timedelta(days=2)], []) == [{RunStatus.QUEUED: 1}, {}]

    asyncio.run(check())
