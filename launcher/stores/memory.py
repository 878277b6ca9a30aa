"""In-memory stores, for a launcher without Redis and MongoDB."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from launcher.domain.days import StatusCounts, count_between
from launcher.domain.log_lines import LogLine
from launcher.domain.runs import Run, supersedes
from launcher.stores.ports import RunQuery, work_item_fields


class InMemoryRunStore:
    """A `RunStore` in memory."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    async def put(self, run: Run) -> bool:
        """See `RunStore`."""
        if not supersedes(run, self._runs.get(run.run_id)):
            return False
        self._runs[run.run_id] = run
        return True

    async def get(self, run_id: str) -> Run | None:
        """See `RunStore`."""
        return self._runs.get(run_id)

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """See `RunStore`."""
        return query.page_of(self._runs.values())

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """See `RunStore`."""
        return count_between(edges, self._runs.values())

    async def revisions(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """See `RunStore`."""
        return {run_id: self._runs[run_id].revision for run_id in run_ids if run_id in self._runs}

    async def delete_finished_before(self, moment: datetime) -> int:
        """See `RunStore`."""
        old = [run.run_id for run in self._runs.values() if run.completed_at and run.completed_at < moment]
        for run_id in old:
            del self._runs[run_id]
        return len(old)

    async def ping(self) -> None:
        """See `RunStore`."""


class InMemoryLogTail:
    """A `LogTail` in memory, with the newest `limit` lines of each log."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: dict[str, deque[LogLine]] = {}
        self._changed: dict[str, asyncio.Event] = {}

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """See `LogTail`."""
        stored = self._lines.setdefault(run_id, deque(maxlen=self._limit))
        last = stored[-1].number if stored else 0
        if replace:
            stored.clear()
        stored.extend(line for line in lines if line.number > last)
        self._wake(run_id)

    async def last_number(self, run_id: str) -> int:
        """See `LogTail`."""
        stored = self._lines.get(run_id)
        return stored[-1].number if stored else 0

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """See `LogTail`."""
        if await self.last_number(run_id) <= after and wait_seconds > 0:
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._changed.setdefault(run_id, asyncio.Event()).wait()
            except TimeoutError:
                return []
        stored = self._lines.get(run_id)
        if not stored or stored[-1].number <= after:
            return []
        return [line for line in stored if line.number > after]

    async def finish(self, run_id: str) -> None:
        """See `LogTail`. Frees the memory immediately, because the archive has every line."""
        self._lines.pop(run_id, None)
        self._wake(run_id)

    def _wake(self, run_id: str) -> None:
        if event := self._changed.pop(run_id, None):
            event.set()


class InMemoryWorkItems:
    """A `WorkItems` in a dictionary that maps a job_id to the item's fields."""

    def __init__(self, items: dict[str, dict[str, Any]]) -> None:
        self.items = items

    async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
        """See `WorkItems`."""
        item = self.items.get(run.job_id)
        if item is None:
            return False
        if item.get("pipeline_run_id") == run.run_id:
            if item["pipeline_status"] in ("completed", "failed", "cancelled"):
                return False
        elif (marked_at := item.get("pipeline_run_at")) is not None and (
            (marked_at, item["pipeline_run_id"]) > (run.created_at, run.run_id)
        ):
            return False
        item.update(work_item_fields(run, artifact_urls))
        return True
