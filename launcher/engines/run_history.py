"""Every run that ever was, on the Kubernetes engine: listed and counted by MongoDB, or else by the archive."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from launcher.background import report
from launcher.domain.days import StatusCounts, count_between
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run
from launcher.stores.archive import Archive
from launcher.stores.ports import RunQuery, RunStore

_FRESH_SECONDS = 5.0
T = TypeVar("T")


class RunHistory:
    """Lists and counts all runs. Live runs that have no record yet are added to what the stores return."""

    def __init__(self, history: RunStore | None, archive: Archive) -> None:
        self._history, self._archive = history, archive
        self._counts: dict[tuple[datetime, ...], tuple[float, Sequence[StatusCounts]]] = {}
        self._counting = asyncio.Lock()

    async def find(self, query: RunQuery, live: Sequence[Run]) -> tuple[list[Run], int]:
        """Find as `RunStore.find` does. The first page also has the live runs without a record, however many."""
        (runs, total), new = await self._query(lambda history: history.find(query), query.page_of, live)
        found, count = replace(query, page=1, per_page=max(1, len(new))).page_of(new)
        return ([*found, *runs] if query.page == 1 else runs), total + count

    async def count_between(self, edges: Sequence[datetime], live: Sequence[Run]) -> Sequence[StatusCounts]:
        """Count as `RunStore.count_between` does. An answer serves every caller within a few seconds."""
        now, key = asyncio.get_running_loop().time, tuple(edges)
        async with self._counting:
            self._counts = {k: answer for k, answer in self._counts.items() if now() - answer[0] < _FRESH_SECONDS}
            if key not in self._counts:
                self._counts[key] = (now(), await self._count(edges, live))
            return self._counts[key][1]

    async def _count(self, edges: Sequence[datetime], live: Sequence[Run]) -> Sequence[StatusCounts]:
        counts, new = await self._query(
            lambda history: history.count_between(edges), lambda runs: count_between(edges, runs), live
        )
        added = count_between(edges, new)
        return [Counter(stored) + Counter(more) for stored, more in zip(counts, added, strict=True)]

    async def _query(
        self,
        of_history: Callable[[RunStore], Awaitable[T]],
        of_runs: Callable[[Sequence[Run]], T],
        live: Sequence[Run],
    ) -> tuple[T, list[Run]]:
        """Return the history's answer, or else the archive's, and the live runs that it does not include."""
        if self._history is not None:
            try:
                answer = await of_history(self._history)
                known = await self._history.revisions([run.run_id for run in live])
                return answer, [run for run in live if run.run_id not in known]
            except StoreUnavailable:
                pass
            except Exception:
                report("list", "the history cannot be queried; the archive is used instead")

        def query_archive() -> tuple[T, list[Run]]:
            runs = list(self._archive.runs())
            archived = {run.run_id for run in runs}
            return of_runs(runs), [run for run in live if run.run_id not in archived]

        return await asyncio.to_thread(query_archive)
