"""The recorder: writes each state of a run, the archive first, then every mirror, until each has it.

The archive is written before `record` returns; Redis and MongoDB follow in tasks of their own, so that
a store that is down for an hour holds nothing back and has everything when it returns. What a mirror still
lacks is found again at start and every minute, by comparing revisions.
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
"""So often a record is tried that fails for no known reason."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ROOM_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 0.2
log = logging.getLogger(__name__)


def no_room(error: Exception) -> bool:
    """Say whether a disk refused a write for want of room, which may come back."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


class Mirror:
    """One store that follows the archive. Writes the latest state of each run it lacks, retrying forever."""

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
        self._tries: Count[str] = Count()
        self._news = asyncio.Event()

    @property
    def backlog(self) -> int:
        """How many runs the store has not got the latest state of."""
        return len(self._owed)

    def pending(self, run_id: str) -> bool:
        """Say whether the store has not got the latest state of a run."""
        return run_id in self._owed

    def enqueue(self, run: Run) -> None:
        """Note that the store must get this state."""
        self._owed[run.run_id] = run
        self._tries.pop(run.run_id, None)
        self._news.set()

    async def run(self) -> None:
        """Deliver what is backlog; between, ask whether the store is there."""
        await repeat(f"mirror {self.name}", self._round)

    async def _round(self) -> None:
        self._news.clear()
        await self._retry_forever(self.store.ping)
        for run in list(self._owed.values()):
            try:
                await self._deliver(run)
            except Exception:  # a record that this store cannot hold must not keep the others from it
                self._refused(run)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_INTERVAL_SECONDS):
                await self._news.wait()

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
        if self._owed.get(run.run_id) is run:
            del self._owed[run.run_id]
        else:
            self._news.set()

    def _refused(self, run: Run) -> None:
        """Note that writing a run failed for no known reason: a few times it is tried again, then given up."""
        report(f"mirror {self.name}", f"{self.name} cannot take run {run.run_id}")
        self._tries[run.run_id] += 1
        if self._tries[run.run_id] < _MAX_TRIES:
            self._news.set()
        elif self._owed.get(run.run_id) is run:
            UNDELIVERABLE.labels(self.name).inc()
            del self._owed[run.run_id], self._tries[run.run_id]

    async def _retry_forever(self, call: Callable[[], Awaitable[None]]) -> None:
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
        self._tasks = Tasks()
        self._late: dict[str, Run] = {}
        """Ends that the archive has not taken yet."""

    def start(self, *, only_watch: bool = False) -> None:
        """Begin to deliver; with `only_watch` just ask whether the stores are there, for another process delivers."""
        for mirror in self.mirrors:
            self._tasks.start(mirror.run(), f"mirror {mirror.name}")
        if not only_watch:
            work = repeat("reconcile stores", self._reconcile, every_seconds=RECONCILE_INTERVAL_SECONDS)
            self._tasks.start(work, "reconcile stores")

    async def stop(self, patience_seconds: float = 2.0) -> None:
        """Give the mirrors a moment for what they enqueue, then end; the next start finds what is left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while any(mirror.backlog for mirror in self.mirrors if mirror.up):
                    await asyncio.sleep(0.02)
        await self._tasks.stop()

    def record(self, run: Run) -> bool:
        """Keep this state: on the disk when it returns. False where an end, or a later state, is kept already."""
        if not self._archive.put(run):
            return False
        for mirror in self.mirrors:
            mirror.enqueue(run)
        return True

    async def record_end(self, ended: Run) -> Run:
        """Keep a run's end, whatever it takes; return it as it was kept.

        On a full disk it waits for room, as an outcome must not be lost. Where the archive cannot take it for any other
        reason, it is kept without what came from outside and, if that fails as well, by the mirrors, until the archive
        takes it at a later reconciliation.
        """
        tries = 0
        while True:
            try:
                if self.record(ended) or (kept := self._archive.get(ended.run_id)) is None:
                    return ended
                if kept.status.terminal:  # the first end counts
                    return kept
                ended = ended.following(kept)  # somebody has changed the run meanwhile, as a cancellation does
                continue
            except Exception as exc:
                if no_room(exc):
                    log.error("run %s has ended, but there is no room for its record: %s", ended.run_id, exc)
                    await asyncio.sleep(_NO_ROOM_SECONDS)
                    continue
                report("record", f"the end of run {ended.run_id} cannot be recorded")
                tries += 1
            if tries > _MAX_TRIES:
                self._late[ended.run_id] = ended
                for mirror in self.mirrors:
                    mirror.enqueue(ended)
                return ended
            if tries == _MAX_TRIES:
                ended = ended.bare()
            else:
                await asyncio.sleep(_TRY_AGAIN_SECONDS)

    @property
    def unreadable(self) -> int:
        """How many runs have a record in the archive that could not be read when it was last looked at."""
        return len(self._archive.unreadable)

    def pending(self, run_id: str) -> bool:
        """Say whether a store has not got the latest state of a run."""
        return any(mirror.pending(run_id) for mirror in self.mirrors)

    async def _reconcile(self) -> None:
        for run_id, ended in list(self._late.items()):
            with contained("record", f"the end of run {run_id} cannot be recorded yet"):
                self.record(ended)
                del self._late[run_id]
        runs = await asyncio.to_thread(lambda: list(self._archive.runs()))
        for mirror in self.mirrors:
            with contained("reconcile stores", f"comparing {mirror.name} with the archive"):
                await mirror.reconcile(runs)
