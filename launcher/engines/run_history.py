"""The history of runs on the Kubernetes engine: from MongoDB or, without it, from the archive."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from launcher.background import report_exception
from launcher.domain.days import StatusCounts, count_between
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run
from launcher.stores.archive import Archive
from launcher.stores.ports import RunQuery, RunStore

_FRESH_SECONDS = 5.0
T = TypeVar("T")


class RunHistory:
    """Lists and counts all runs: those of the store, and live runs that the store does not have yet."""

    def __init__(self, history: RunStore | None, archive: Archive) -> None:
        self._history, self._archive = history, archive
        self._counts: dict[tuple[datetime, ...], tuple[float, Sequence[StatusCounts]]] = {}
        self._counting = asyncio.Lock()
        self._stored: set[str] = set()
        """The live runs that MongoDB has. It is asked only about the others."""

    async def find(self, query: RunQuery, live: Sequence[Run]) -> tuple[list[Run], int]:
        """Like `RunStore.find`. The first page also has all live runs that the store does not have."""
        (runs, total), new = await self._query(lambda history: history.find(query), query.page_of, live)
        found, count = replace(query, page=1, per_page=max(1, len(new))).page_of(new)
        return ([*found, *runs] if query.page == 1 else runs), total + count

    async def count_between(self, edges: Sequence[datetime], live: Sequence[Run]) -> Sequence[StatusCounts]:
        """Like `RunStore.count_between`. Results are cached for a few seconds."""
        now, key = asyncio.get_running_loop().time, tuple(edges)
        async with self._counting:
            self._counts = {k: entry for k, entry in self._counts.items() if now() - entry[0] < _FRESH_SECONDS}
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
        query_history: Callable[[RunStore], Awaitable[T]],
        query_runs: Callable[[Sequence[Run]], T],
        live: Sequence[Run],
    ) -> tuple[T, list[Run]]:
        """Query MongoDB or else the archive; return the result, and the live runs that are missing there."""
        if self._history is not None:
            try:
                answer = await query_history(self._history)
                return answer, await self._missing(self._history, live)
            except StoreUnavailable:
                pass
            except Exception:
                report_exception("run history", "cannot query MongoDB; using the archive instead")

        def query_archive() -> tuple[T, list[Run]]:
            runs = list(self._archive.runs())
            archived = {run.run_id for run in runs}
            return query_runs(runs), [run for run in live if run.run_id not in archived]

        return await asyncio.to_thread(query_archive)

    async def _missing(self, history: RunStore, live: Sequence[Run]) -> list[Run]:
        """Return the live runs that MongoDB does not have."""
        new = [run for run in live if run.run_id not in self._stored]
        found = await history.revisions([run.run_id for run in new]) if new else {}
        self._stored.intersection_update(run.run_id for run in live)
        self._stored.update(found)
        return [run for run in new if run.run_id not in found]
