"""How many runs there were, on the Kubernetes engine: counted by the history, or else from the archive's records."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from launcher.domain.days import StatusCounts, count_between
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run
from launcher.stores.archive import Archive
from launcher.stores.ports import RunStore

_FRESH_SECONDS = 5.0


class RunCounts:
    """Counts all runs. An answer serves everybody who asks the same within a few seconds."""

    def __init__(self, history: RunStore | None, archive: Archive) -> None:
        self._history, self._archive = history, archive
        self._answers: dict[tuple[datetime, ...], tuple[float, Sequence[StatusCounts]]] = {}
        self._counting = asyncio.Lock()

    async def between(self, edges: Sequence[datetime], live: Sequence[Run]) -> Sequence[StatusCounts]:
        """Count as `RunStore.count_between` does; of the live runs, those are added that have no record yet."""
        loop, asked = asyncio.get_running_loop(), tuple(edges)
        async with self._counting:
            self._answers = {
                key: answer for key, answer in self._answers.items() if loop.time() - answer[0] < _FRESH_SECONDS
            }
            if asked not in self._answers:
                self._answers[asked] = (loop.time(), await self._count(edges, live))
            return self._answers[asked][1]

    async def _count(self, edges: Sequence[datetime], live: Sequence[Run]) -> Sequence[StatusCounts]:
        try:
            if self._history is None:
                raise StoreUnavailable
            counts = await self._history.count_between(edges)
            known = set(await self._history.revisions([run.run_id for run in live]))
        except StoreUnavailable:
            counts, known = await asyncio.to_thread(self._in_archive, edges)
        new = count_between(edges, [run for run in live if run.run_id not in known])
        return [Counter(of_known) + Counter(of_new) for of_known, of_new in zip(counts, new, strict=True)]

    def _in_archive(self, edges: Sequence[datetime]) -> tuple[Sequence[StatusCounts], set[str]]:
        runs = list(self._archive.runs())
        return count_between(edges, runs), {run.run_id for run in runs}
