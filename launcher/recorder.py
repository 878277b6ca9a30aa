"""The recorder: writes each state of a run, the archive first, then every mirror, until each has it.

The archive is written before `record` returns; Redis and MongoDB follow in tasks of their own, so that
a store that is away for an hour holds nothing back and has everything when it returns. What a mirror still
owes is found again at start and every minute, by comparing revisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from prometheus_client import Counter, Gauge
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run, now
from launcher.stores.archive import Archive
from launcher.stores.ports import RunStore, WorkItems

RECONCILE_INTERVAL_SECONDS = 60.0
PING_INTERVAL_SECONDS = 5.0
_RETRY_MAX_SECONDS = 10.0
log = logging.getLogger(__name__)
REPAIRED = Counter("slipway_repaired_total", "Runs whose state a store had missed, written again", ["store"])
UNDELIVERABLE = Counter("slipway_undeliverable_total", "Records that a store cannot hold", ["store"])
STORE_UP = Gauge("slipway_store_up", "1 while the store answers", ["store"])


class Mirror:
    """One store that follows the archive. Writes the latest state of each run it owes, retrying for ever."""

    def __init__(
        self,
        name: str,
        store: RunStore,
        *,
        items: WorkItems | None = None,
        urls: Callable[[Run], dict[str, str]] = lambda run: {},
        keeps: timedelta | None = None,
    ) -> None:
        self.name, self.store = name, store
        self.up: bool | None = None
        self._items, self._urls, self._keeps = items, urls, keeps
        self._owed: dict[str, Run] = {}
        self._news = asyncio.Event()

    @property
    def owed(self) -> int:
        """How many runs the store has not got the latest state of."""
        return len(self._owed)

    def owes(self, run_id: str) -> bool:
        """Say whether the store has not got the latest state of a run."""
        return run_id in self._owed

    def owe(self, run: Run) -> None:
        """Note that the store must get this state."""
        self._owed[run.run_id] = run
        self._news.set()

    async def run(self) -> None:
        """Deliver what is owed; between, ask whether the store is there."""
        while True:
            await self._insist(self.store.ping)
            for run in list(self._owed.values()):
                try:
                    await self._deliver(run)
                except Exception:  # a record that this store cannot hold must not keep the others from it
                    log.exception("%s cannot take run %s", self.name, run.run_id)
                    UNDELIVERABLE.labels(self.name).inc()
                    self._owed.pop(run.run_id, None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_INTERVAL_SECONDS):
                    await self._news.wait()
            self._news.clear()

    async def reconcile(self, runs: Sequence[Run]) -> int:
        """Owe every run whose state the store has missed, but those it would have forgotten by now; return how many."""
        oldest = now() - self._keeps if self._keeps else None
        wanted = [run for run in runs if not (oldest and run.completed_at and run.completed_at < oldest)]
        try:
            kept = await self.store.revisions([run.run_id for run in wanted])
        except StoreUnavailable:
            return 0
        missed = [r for r in wanted if kept.get(r.run_id, 0) < r.revision and r.run_id not in self._owed]
        for run in missed:
            self.owe(run)
        REPAIRED.labels(self.name).inc(len(missed))
        return len(missed)

    async def _deliver(self, run: Run) -> None:
        async def write() -> None:
            if self._items:  # the work item first: the run's own document is what reconciliation looks at
                await self._items.mark(run, self._urls(run))
            await self.store.put(run)

        await self._insist(write)
        if self._owed.get(run.run_id) is run:
            del self._owed[run.run_id]
        else:
            self._news.set()

    async def _insist(self, call: Callable[[], Awaitable[None]]) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(0.2, _RETRY_MAX_SECONDS)
        )
        async for attempt in retrying:
            with attempt:
                try:
                    await call()
                except StoreUnavailable as exc:
                    self._seen(False, str(exc))
                    raise
        self._seen(True)

    def _seen(self, up: bool, why: str = "") -> None:
        if up != self.up:
            log.log(logging.INFO if up else logging.WARNING, "%s %s", self.name, "answers" if up else f"is away: {why}")
            STORE_UP.labels(self.name).set(up)
        self.up = up


class Recorder:
    """Keeps every state of every run: the archive at once, the mirrors as soon as they can."""

    def __init__(self, archive: Archive, mirrors: Sequence[Mirror]) -> None:
        self._archive, self.mirrors = archive, mirrors
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, only_watch: bool = False) -> None:
        """Begin to deliver; with `only_watch` just ask whether the stores are there, for another process delivers."""
        for mirror in self.mirrors:
            self._tasks.append(asyncio.create_task(mirror.run(), name=f"mirror {mirror.name}"))
        if not only_watch:
            self._tasks.append(asyncio.create_task(self._reconcile(), name="reconcile"))

    async def stop(self, patience_seconds: float = 2.0) -> None:
        """Give the mirrors a moment for what they owe, then end; the next start finds what is left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while any(mirror.owed for mirror in self.mirrors if mirror.up):
                    await asyncio.sleep(0.02)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def record(self, run: Run) -> bool:
        """Keep this state: on the disk when it returns. False where an end, or a later state, is kept already."""
        if not self._archive.put(run):
            return False
        for mirror in self.mirrors:
            mirror.owe(run)
        return True

    def owes(self, run_id: str) -> bool:
        """Say whether a store has not got the latest state of a run."""
        return any(mirror.owes(run_id) for mirror in self.mirrors)

    async def _reconcile(self) -> None:
        while True:
            runs = await asyncio.to_thread(lambda: list(self._archive.runs()))
            for mirror in self.mirrors:
                await mirror.reconcile(runs)
            await asyncio.sleep(RECONCILE_INTERVAL_SECONDS)
