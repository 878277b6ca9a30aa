"""The mirror: delivers the latest state of each run to Redis or MongoDB, however long the store is down."""

from __future__ import annotations

import asyncio
from collections import Counter as Count
from collections.abc import Callable, Sequence
from datetime import timedelta

from launcher.background import repeat, report_exception
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run, now
from launcher.metrics import REPAIRED, UNDELIVERABLE
from launcher.stores.ports import WorkItems
from launcher.stores.watch import StoreWatch

_MAX_TRIES = 3
"""How often a write that fails for an unknown reason is tried."""


class Mirror:
    """Delivers the latest state of each run to one store, and retries until the store has it."""

    def __init__(
        self,
        watch: StoreWatch,
        *,
        items: WorkItems | None = None,
        urls: Callable[[Run], dict[str, str]] = lambda run: {},
        retention: timedelta | None = None,
    ) -> None:
        self.name = watch.name
        self._watch, self._store = watch, watch.store
        self._items, self._urls, self._retention = items, urls, retention
        self._backlog: dict[str, Run] = {}
        self._tries: Count[str] = Count()
        self._enqueued = asyncio.Event()

    @property
    def up(self) -> bool | None:
        """Whether the store answers; None if it is not known yet."""
        return self._watch.up

    @property
    def backlog(self) -> int:
        """The number of runs whose latest state the store does not have."""
        return len(self._backlog)

    def pending(self, run_id: str) -> bool:
        """Return whether the store does not have the latest state of a run."""
        return run_id in self._backlog

    def enqueue(self, run: Run) -> None:
        """Add this state to the backlog."""
        self._backlog[run.run_id] = run
        self._tries.pop(run.run_id, None)
        self._enqueued.set()

    async def run(self) -> None:
        """Deliver the backlog, and each state as it is enqueued."""
        await repeat(f"mirror {self.name}", self._round)

    async def reconcile(self, runs: Sequence[Run]) -> int:
        """Enqueue each run whose latest state the store has missed, if still within its retention; return how many.

        Raises `StoreUnavailable`.
        """
        oldest = now() - self._retention if self._retention else None
        wanted = [run for run in runs if not (oldest and run.completed_at and run.completed_at < oldest)]
        pending = set(self._backlog)  # delivered while the store is asked, perhaps
        stored = await self._store.revisions([run.run_id for run in wanted])
        pending |= self._backlog.keys()
        missed = [run for run in wanted if stored.get(run.run_id, 0) < run.revision and run.run_id not in pending]
        for run in missed:
            self.enqueue(run)
        REPAIRED.labels(self.name).inc(len(missed))
        return len(missed)

    async def _round(self) -> None:
        while not self._backlog:
            self._enqueued.clear()
            await self._enqueued.wait()
        for run in list(self._backlog.values()):
            try:
                await self._deliver(run)
            except Exception:  # a record that the store rejects must not block the others
                self._retry_or_drop(run)

    async def _deliver(self, run: Run) -> None:
        async def write() -> None:
            error: Exception | None = None
            try:  # the work item first, because `reconcile` only checks the run's document
                if self._items:
                    await self._items.mark(run, self._urls(run))
            except StoreUnavailable:
                raise
            except Exception as exc:  # the run's document must be written even if the work item cannot be
                error = exc
            await self._store.put(run)
            if error:
                raise error

        await self._watch.retry_forever(write)
        self._tries.pop(run.run_id, None)
        self._remove(run)

    def _retry_or_drop(self, run: Run) -> None:
        """Leave a write that failed for an unknown reason for the next round; drop it after a few tries."""
        report_exception(f"mirror {self.name}", f"run {run.run_id}: cannot write it to {self.name}")
        self._tries[run.run_id] += 1
        if self._tries[run.run_id] >= _MAX_TRIES and self._remove(run):
            UNDELIVERABLE.labels(self.name).inc()
            del self._tries[run.run_id]

    def _remove(self, run: Run) -> bool:
        """Remove this state from the backlog, unless a later one has replaced it; return whether it was removed."""
        if self._backlog.get(run.run_id) is not run:
            return False
        del self._backlog[run.run_id]
        return True
