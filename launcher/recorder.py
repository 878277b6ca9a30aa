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
from collections.abc import Sequence
from itertools import islice

from launcher.background import Tasks, in_thread, repeat, report_exception, suppress_and_report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run
from launcher.mirror import Mirror
from launcher.stores.archive import Archive

RECONCILE_INTERVAL_SECONDS = 60.0
_BATCH = 500  # how many runs are compared at a time, so that memory does not grow with the history
_MAX_TRIES = 3
"""How often a write that fails for an unknown reason is tried."""
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK_FULL_RETRY_SECONDS = 1.0
_RETRY_SECONDS = 0.2
log = logging.getLogger(__name__)


def is_disk_full(error: Exception) -> bool:
    """Return whether a write failed because the disk is full, so that a retry can succeed."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL


class Recorder:
    """Records every state of every run: in the archive immediately, in the mirrors as soon as possible."""

    def __init__(self, archive: Archive, mirrors: Sequence[Mirror]) -> None:
        self._archive, self._mirrors = archive, mirrors
        self._tasks = Tasks()
        self._unrecorded: dict[str, Run] = {}
        """Outcomes that could not be written to the archive."""

    def start(self) -> None:
        """Start the background tasks."""
        for mirror in self._mirrors:
            self._tasks.start(mirror.run(), f"mirror {mirror.name}")
        work = repeat("reconcile stores", self._reconcile, every_seconds=RECONCILE_INTERVAL_SECONDS)
        self._tasks.start(work, "reconcile stores")

    async def stop(self, patience_seconds: float = 2.0) -> None:
        """Give the mirrors a moment to deliver their backlog, then stop. The next process delivers the rest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while any(mirror.backlog for mirror in self._mirrors if mirror.up):
                    await asyncio.sleep(0.02)
        await self._tasks.stop()

    def record(self, run: Run) -> bool:
        """Write this state to disk. Returns False if an outcome, or a later state, is recorded already."""
        written = self._archive.put(run)
        if written:
            self.enqueue(run)
        return written

    async def record_in_thread(self, run: Run) -> bool:
        """Like `record`, but other tasks proceed while the disk writes. Nothing else may record the run meanwhile."""
        written = await in_thread(self._archive.put, run)
        if written:
            self.enqueue(run)
        return written

    async def record_outcome(self, finished: Run) -> Run:
        """Record a finished run; return the run as recorded.

        On a full disk it waits for space, because an outcome must not be lost. If writing fails for another reason, the
        run is recorded without data from outside. If that fails too, only the mirrors have the outcome until the next
        reconciliation of the stores.
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
                report_exception("recorder", f"run {finished.run_id}: cannot write its record")
                tries += 1
            if tries > _MAX_TRIES:
                self._unrecorded[finished.run_id] = finished
                self.enqueue(finished)
                return finished
            if tries == _MAX_TRIES:
                finished = finished.without_external_data()
            else:
                await asyncio.sleep(_RETRY_SECONDS)

    def enqueue(self, run: Run) -> None:
        """Let every store have this state, which the archive has. Stores that have it already do nothing."""
        for mirror in self._mirrors:
            mirror.enqueue(run)

    @property
    def backlog(self) -> int:
        """The number of records that the stores do not have, over all stores."""
        return sum(mirror.backlog for mirror in self._mirrors)

    def pending(self, run_id: str) -> bool:
        """Return whether any store does not have the latest state of a run."""
        return any(mirror.pending(run_id) for mirror in self._mirrors)

    async def _reconcile(self) -> None:
        for run_id, finished in list(self._unrecorded.items()):
            with suppress_and_report("recorder", f"run {run_id}: cannot write its record"):
                self.record(finished)
                del self._unrecorded[run_id]
        left = iter(self._archive.runs())
        mirrors = list(self._mirrors)
        while mirrors and (runs := await asyncio.to_thread(lambda: list(islice(left, _BATCH)))):
            mirrors = [mirror for mirror in mirrors if await self._compared(mirror, runs)]

    async def _compared(self, mirror: Mirror, runs: Sequence[Run]) -> bool:
        """Compare a store with some runs; return whether it answers. If not, the others must not wait for it again."""
        try:
            await mirror.reconcile(runs)
        except StoreUnavailable:
            return False
        except Exception:
            report_exception("reconcile stores", f"cannot compare {mirror.name} with the archive")
        return True
