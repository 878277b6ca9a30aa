"""The recorder: writes each state of a run to the archive first, then to every mirror, retrying until each has it.

The archive is written before `record` returns; Redis and MongoDB follow in tasks of their own, so that
a store that is down for an hour delays nothing and has everything when it returns. What a mirror still
lacks is found by comparing revisions, at start and every minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections import Counter as Count
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from launcher.background import Tasks, contained, repeat, report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run, now
from launcher.metrics import REPAIRED, STORE_UP, UNDELIVERABLE
from launcher.stores.archive import Archive
from launcher.stores.ports import RunStore, WorkItems

RECONCILE_INTERVAL_SECONDS = 60.0
PING_INTERVAL_SECONDS = 5.0
_RETRY_MAX_SECONDS = 10.0
_MAX_TRIES = 3
"""How often a write is tried that fails for an unknown reason."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ROOM_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 0.2
log = logging.getLogger(__name__)


def no_room(error: Exception) -> bool:
    """Say whether a disk refused a write because it is full, which may change."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


class Mirror:
    """One store that follows the archive. It gets the latest state of each run, with endless retries."""

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
        self._backlog: dict[str, Run] = {}
        self._tries: Count[str] = Count()
        self._changed = asyncio.Event()

    @property
    def backlog(self) -> int:
        """How many runs the store does not have the latest state of."""
        return len(self._backlog)

    def pending(self, run_id: str) -> bool:
        """Say whether the store does not have the latest state of a run yet."""
        return run_id in self._backlog

    def enqueue(self, run: Run) -> None:
        """Queue this state for the store."""
        self._backlog[run.run_id] = run
        self._tries.pop(run.run_id, None)
        self._changed.set()

    async def run(self) -> None:
        """Deliver the backlog; in between, check that the store answers."""
        await repeat(f"mirror {self.name}", self._round)

    async def _round(self) -> None:
        self._changed.clear()
        await self._retry_forever(self.store.ping)
        for run in list(self._backlog.values()):
            try:
                await self._deliver(run)
            except Exception:  # a record that this store refuses must not hold up the others
                self._retry_or_drop(run)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_INTERVAL_SECONDS):
                await self._changed.wait()

    async def reconcile(self, runs: Sequence[Run]) -> int:
        """Queue every run whose state the store has missed, unless it would be deleted by now; return how many."""
        oldest = now() - self._keeps if self._keeps else None
        wanted = [run for run in runs if not (oldest and run.completed_at and run.completed_at < oldest)]
        try:
            kept = await self.store.revisions([run.run_id for run in wanted])
        except StoreUnavailable:
            return 0
        missed = [r for r in wanted if kept.get(r.run_id, 0) < r.revision and r.run_id not in self._backlog]
        for run in missed:
            self.enqueue(run)
        REPAIRED.labels(self.name).inc(len(missed))
        return len(missed)

    async def _deliver(self, run: Run) -> None:
        async def write() -> None:
            refused: Exception | None = None
            try:  # the work item first: reconciliation looks at the run's own document alone
                if self._items:
                    await self._items.mark(run, self._urls(run))
            except StoreUnavailable:
                raise
            except Exception as exc:  # a work item that cannot be written must not cost the run its own document
                refused = exc
            await self.store.put(run)
            if refused:
                raise refused

        await self._retry_forever(write)
        self._tries.pop(run.run_id, None)
        if self._backlog.get(run.run_id) is run:
            del self._backlog[run.run_id]
        else:
            self._changed.set()

    def _retry_or_drop(self, run: Run) -> None:
        """Retry a write that failed for an unknown reason a few times, then give it up."""
        report(f"mirror {self.name}", f"{self.name} refuses run {run.run_id}")
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
                    self._note_answer(False, str(exc))
                    raise
        self._note_answer(True)

    def _note_answer(self, up: bool, why: str = "") -> None:
        if up != self.up:
            log.log(logging.INFO if up else logging.WARNING, "%s %s", self.name, "answers" if up else f"is away: {why}")
            STORE_UP.labels(self.name).set(up)
        self.up = up


class Recorder:
    """Records every state of every run: in the archive at once, in the mirrors as soon as possible."""

    def __init__(self, archive: Archive, mirrors: Sequence[Mirror]) -> None:
        self._archive, self.mirrors = archive, mirrors
        self._tasks = Tasks()
        self._unrecorded: dict[str, Run] = {}
        """Outcomes that the archive has not taken yet."""

    def start(self, *, only_watch: bool = False) -> None:
        """Start to deliver; with `only_watch`, only check that the stores answer, as another process delivers."""
        for mirror in self.mirrors:
            self._tasks.start(mirror.run(), f"mirror {mirror.name}")
        if not only_watch:
            work = repeat("reconcile stores", self._reconcile, every_seconds=RECONCILE_INTERVAL_SECONDS)
            self._tasks.start(work, "reconcile stores")

    async def stop(self, patience_seconds: float = 2.0) -> None:
        """Give the mirrors a moment for their backlog, then stop; the next start finds what is left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while any(mirror.backlog for mirror in self.mirrors if mirror.up):
                    await asyncio.sleep(0.02)
        await self._tasks.stop()

    def record(self, run: Run) -> bool:
        """Record this state, on the disk. Return False if an outcome, or a later state, is recorded already."""
        if not self._archive.put(run):
            return False
        for mirror in self.mirrors:
            mirror.enqueue(run)
        return True

    async def record_end(self, ended: Run) -> Run:
        """Record a run's outcome, whatever it takes; return the run as it was recorded.

        On a full disk it waits for space, as an outcome must not be lost. If the archive refuses it for any other
        reason, it is recorded without what came from outside. If that fails too, only the mirrors have it until a
        later reconciliation.
        """
        tries = 0
        while True:
            try:
                if self.record(ended) or (kept := self._archive.get(ended.run_id)) is None:
                    return ended
                if kept.status.terminal:  # the first outcome counts
                    return kept
                ended = ended.following(kept)  # the run was changed meanwhile, for example cancelled
                continue
            except Exception as exc:
                if no_room(exc):
                    log.error("run %s has ended, but the disk is full: %s", ended.run_id, exc)
                    await asyncio.sleep(_NO_ROOM_SECONDS)
                    continue
                report("record", f"the outcome of run {ended.run_id} cannot be recorded")
                tries += 1
            if tries > _MAX_TRIES:
                self._unrecorded[ended.run_id] = ended
                for mirror in self.mirrors:
                    mirror.enqueue(ended)
                return ended
            if tries == _MAX_TRIES:
                ended = ended.bare()
            else:
                await asyncio.sleep(_TRY_AGAIN_SECONDS)

    @property
    def unreadable(self) -> int:
        """How many runs have a record in the archive that could not be read the last time."""
        return len(self._archive.unreadable)

    def pending(self, run_id: str) -> bool:
        """Say whether a store does not have the latest state of a run yet."""
        return any(mirror.pending(run_id) for mirror in self.mirrors)

    async def _reconcile(self) -> None:
        for run_id, ended in list(self._unrecorded.items()):
            with contained("record", f"the outcome of run {run_id} cannot be recorded yet"):
                self.record(ended)
                del self._unrecorded[run_id]
        runs = await asyncio.to_thread(lambda: list(self._archive.runs()))
        for mirror in self.mirrors:
            with contained("reconcile stores", f"comparing {mirror.name} with the archive"):
                await mirror.reconcile(runs)
