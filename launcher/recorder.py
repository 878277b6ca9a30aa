"""The recorder: writes each state of a run to the archive, then to every mirror, with retries.

The archive is written before `record` returns. Redis and MongoDB are updated in background tasks, so a store can be
down for an hour without delaying anything. At start and every minute, the recorder compares revisions to find the
states that a mirror has missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections import Counter as Count
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import islice

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from launcher.background import Tasks, contained, in_thread, repeat, report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run, now
from launcher.metrics import REPAIRED, STORE_UP, UNDELIVERABLE
from launcher.stores.archive import Archive
from launcher.stores.ports import RunStore, WorkItems

RECONCILE_INTERVAL_SECONDS = 60.0
PING_INTERVAL_SECONDS = 5.0
_BATCH = 500  # how many runs are compared at a time, so that memory does not grow with the history
_RETRY_MAX_SECONDS = 10.0
_MAX_TRIES = 3
"""How often a write that fails for an unknown reason is tried."""
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK_FULL_RETRY_SECONDS = 1.0
_RETRY_SECONDS = 0.2
log = logging.getLogger(__name__)


def is_disk_full(error: Exception) -> bool:
    """Return whether a write failed because the disk is full, so that a retry can succeed."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL


class Mirror:
    """Delivers the latest state of each run to one store, and retries until the store has it."""

    def __init__(
        self,
        name: str,
        store: RunStore,
        *,
        items: WorkItems | None = None,
        urls: Callable[[Run], dict[str, str]] = lambda run: {},
        retention: timedelta | None = None,
    ) -> None:
        self.name, self.store = name, store
        self.up: bool | None = None
        self._items, self._urls, self._retention = items, urls, retention
        self._backlog: dict[str, Run] = {}
        self._tries: Count[str] = Count()
        self._changed = asyncio.Event()

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
        self._changed.set()

    async def run(self) -> None:
        """Deliver the backlog, and check every few seconds that the store answers."""
        await repeat(f"mirror {self.name}", self._round)

    async def _round(self) -> None:
        self._changed.clear()
        await self._retry_forever(self.store.ping)
        for run in list(self._backlog.values()):
            try:
                await self._deliver(run)
            except Exception:  # a record that the store rejects must not block the others
                self._retry_or_drop(run)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_INTERVAL_SECONDS):
                await self._changed.wait()

    async def reconcile(self, runs: Sequence[Run]) -> int:
        """Enqueue each run whose latest state the store has missed, if still within its retention; return how many."""
        oldest = now() - self._retention if self._retention else None
        wanted = [run for run in runs if not (oldest and run.completed_at and run.completed_at < oldest)]
        try:
            stored = await self.store.revisions([run.run_id for run in wanted])
        except StoreUnavailable:
            return 0
        missed = [r for r in wanted if stored.get(r.run_id, 0) < r.revision and r.run_id not in self._backlog]
        for run in missed:
            self.enqueue(run)
        REPAIRED.labels(self.name).inc(len(missed))
        return len(missed)

    async def _deliver(self, run: Run) -> None:
        async def write() -> None:
            error: Exception | None = None
            try:  # the work item first, because reconciliation only checks the run's document
                if self._items:
                    await self._items.mark(run, self._urls(run))
            except StoreUnavailable:
                raise
            except Exception as exc:  # the run's document must be written even if the work item cannot be
                error = exc
            await self.store.put(run)
            if error:
                raise error

        await self._retry_forever(write)
        self._tries.pop(run.run_id, None)
        if self._backlog.get(run.run_id) is run:
            del self._backlog[run.run_id]
        else:
            self._changed.set()

    def _retry_or_drop(self, run: Run) -> None:
        """Retry a write that failed for an unknown reason, and drop it after a few tries."""
        report(f"mirror {self.name}", f"run {run.run_id}: cannot write it to {self.name}")
        self._tries[run.run_id] += 1
        if self._tries[run.run_id] < _MAX_TRIES:
            self._changed.set()
        elif self._backlog.get(run.run_id) is run:
            UNDELIVERABLE.labels(self.name).inc()
            del self._backlog[run.run_id], self._tries[run.run_id]

    async def _retry_forever(self, call: Callable[[], Awaitable[None]]) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(0.2, _RETRY_MAX_SECONDS)
        )
        async for attempt in retrying:
            with attempt:
                try:
                    await call()
                except StoreUnavailable as exc:
                    self._set_up(False, str(exc))
                    raise
        self._set_up(True)

    def _set_up(self, up: bool, why: str = "") -> None:
        if up != self.up:
            log.log(logging.INFO if up else logging.WARNING, "%s is %s", self.name, "up" if up else f"down: {why}")
            STORE_UP.labels(self.name).set(up)
        self.up = up


class Recorder:
    """Records every state of every run: in the archive immediately, in the mirrors as soon as possible."""

    def __init__(self, archive: Archive, mirrors: Sequence[Mirror]) -> None:
        self._archive, self.mirrors = archive, mirrors
        self._tasks = Tasks()
        self._unrecorded: dict[str, Run] = {}
        """Outcomes that could not be written to the archive."""

    def start(self, *, monitor_only: bool = False) -> None:
        """Start the background tasks. With `monitor_only`, only check the stores, because another process delivers."""
        for mirror in self.mirrors:
            self._tasks.start(mirror.run(), f"mirror {mirror.name}")
        if not monitor_only:
            work = repeat("reconcile stores", self._reconcile, every_seconds=RECONCILE_INTERVAL_SECONDS)
            self._tasks.start(work, "reconcile stores")

    async def stop(self, patience_seconds: float = 2.0) -> None:
        """Give the mirrors a moment to deliver their backlog, then stop. The next process delivers the rest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while any(mirror.backlog for mirror in self.mirrors if mirror.up):
                    await asyncio.sleep(0.02)
        await self._tasks.stop()

    def record(self, run: Run) -> bool:
        """Write this state to disk. Returns False if an outcome, or a later state, is recorded already."""
        written = self._archive.put(run)
        if written:
            self._enqueue(run)
        return written

    async def record_in_thread(self, run: Run) -> bool:
        """Like `record`, but other tasks proceed while the disk writes. Nothing else may record the run meanwhile."""
        written = await in_thread(self._archive.put, run)
        if written:
            self._enqueue(run)
        return written

    async def record_outcome(self, finished: Run) -> Run:
        """Record a finished run; return the run as recorded.

        On a full disk it waits for space, because an outcome must not be lost. If writing fails for another reason, the
        run is recorded without data from outside. If that fails too, only the mirrors have the outcome until a later
        reconciliation.
        """
        tries = 0
        while True:
            try:
                if self.record(finished) or (recorded := self._archive.get(finished.run_id)) is None:
                    return finished
                if recorded.status.terminal:  # the first outcome counts
                    return recorded
                finished = finished.rebased_on(recorded)  # it changed in the meantime, for example by a cancellation
                continue
            except Exception as exc:
                if is_disk_full(exc):
                    log.error("run %s: cannot write its record: %s", finished.run_id, exc)
                    await asyncio.sleep(_DISK_FULL_RETRY_SECONDS)
                    continue
                report("record", f"run {finished.run_id}: cannot write its record")
                tries += 1
            if tries > _MAX_TRIES:
                self._unrecorded[finished.run_id] = finished
                self._enqueue(finished)
                return finished
            if tries == _MAX_TRIES:
                finished = finished.without_external_data()
            else:
                await asyncio.sleep(_RETRY_SECONDS)

    def _enqueue(self, run: Run) -> None:
        for mirror in self.mirrors:
            mirror.enqueue(run)

    @property
    def unreadable(self) -> int:
        """The number of runs whose record in the archive could not be read at the last attempt."""
        return len(self._archive.unreadable)

    def pending(self, run_id: str) -> bool:
        """Return whether any store does not have the latest state of a run."""
        return any(mirror.pending(run_id) for mirror in self.mirrors)

    async def _reconcile(self) -> None:
        for run_id, finished in list(self._unrecorded.items()):
            with contained("record", f"run {run_id}: cannot write its record"):
                self.record(finished)
                del self._unrecorded[run_id]
        left = iter(self._archive.runs())
        while runs := await asyncio.to_thread(lambda: list(islice(left, _BATCH))):
            for mirror in self.mirrors:
                with contained("reconcile stores", f"cannot compare {mirror.name} with the archive"):
                    await mirror.reconcile(runs)
