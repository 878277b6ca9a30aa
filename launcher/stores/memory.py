"""The stores in memory, for a launcher without Redis and MongoDB."""

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
    """A `RunStore` that lives as long as the process."""

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

    async def delete_ended_before(self, moment: datetime) -> int:
        """See `RunStore`."""
        old = [run.run_id for run in self._runs.values() if run.completed_at and run.completed_at < moment]
        for run_id in old:
            del self._runs[run_id]
        return len(old)

    async def ping(self) -> None:
        """See `RunStore`."""


class InMemoryLogTail:
    """A `LogTail` that keeps the newest `limit` lines of each log."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: dict[str, deque[LogLine]] = {}
        self._news: dict[str, asyncio.Event] = {}

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """See `LogTail`."""
        kept = self._lines.setdefault(run_id, deque(maxlen=self._limit))
        last = kept[-1].number if kept else 0
        if replace:
            kept.clear()
        kept.extend(line for line in lines if line.number > last)
        self._wake(run_id)

    async def last_number(self, run_id: str) -> int:
        """See `LogTail`."""
        kept = self._lines.get(run_id)
        return kept[-1].number if kept else 0

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """See `LogTail`."""
        if await self.last_number(run_id) <= after and wait_seconds > 0:
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._news.setdefault(run_id, asyncio.Event()).wait()
            except TimeoutError:
                return []
        kept = self._lines.get(run_id)
        if not kept or kept[-1].number <= after:
            return []
        return [line for line in kept if line.number > after]

    async def finish(self, run_id: str) -> None:
        """See `LogTail`. The archive has every line, so the memory is freed at once."""
        self._lines.pop(run_id, None)
        self._wake(run_id)

    def _wake(self, run_id: str) -> None:
        if event := self._news.pop(run_id, None):
            event.set()


class InMemoryWorkItems:
    """A `WorkItems` over a dictionary from job_id to the item's fields."""

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
        elif (there := item.get("pipeline_run_at")) is not None and (
            (there, item["pipeline_run_id"]) > (run.created_at, run.run_id)
        ):
            return False
        item.update(work_item_fields(run, artifact_urls))
        return True
