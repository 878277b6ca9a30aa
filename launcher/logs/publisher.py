"""The publisher: copies each log's new lines from the archive to its tail, however long Redis was down.

It continues after the tail's last line number, so a restart or an outage needs no special case. If the tail is more
than `limit` lines behind, the lines that it would not store are skipped.
"""

from __future__ import annotations

import asyncio

from launcher.background import Tasks, in_thread, report_exception
from launcher.domain.errors import StoreUnavailable
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

_BATCH_LINES, _BATCH_BYTES = 1000, 1 << 20
_RETRY_SECONDS, _RETRY_MAX_SECONDS = 0.1, 2.0
_MAX_FAULTS = 3
"""How many unexpected exceptions in a row stop the updates of a tail until the next line. Readers use the archive."""


class Publisher:
    """Updates the tails of all logs, in one task for each log that is being written."""

    def __init__(self, archive: Archive, tail: LogTail, limit: int) -> None:
        self._archive, self._tail, self._limit = archive, tail, limit
        self._changed: dict[str, asyncio.Event] = {}
        self._finished: set[str] = set()
        self._tasks = Tasks()

    def wake(self, run_id: str) -> None:
        """Publish the new lines of a log."""
        if run_id not in self._changed:
            self._changed[run_id] = asyncio.Event()
            self._tasks.start(self._follow(run_id), f"publish {run_id}")
        self._changed[run_id].set()

    def finish(self, run_id: str) -> None:
        """Publish the last lines of a log, then mark its tail as finished."""
        self._finished.add(run_id)
        self.wake(run_id)

    def pending(self, run_id: str) -> bool:
        """Return whether the tail of a log may be missing lines."""
        return run_id in self._changed

    async def stop(self) -> None:
        """Stop all tasks. Readers get the lines that a tail is missing from the archive."""
        await self._tasks.stop()

    async def _follow(self, run_id: str) -> None:
        """Update a tail until its log is finished, or updates keep failing."""
        try:
            sent: int | None = None
            while True:
                await self._changed[run_id].wait()
                self._changed[run_id].clear()
                sent = await self._retry_forever(run_id, sent)
                if sent is None or (run_id in self._finished and not self._changed[run_id].is_set()):
                    return
        finally:
            self._finished.discard(run_id)
            del self._changed[run_id]

    async def _retry_forever(self, run_id: str, sent: int | None) -> int | None:
        """Publish with retries; return the tail's last number, or None after too many unexpected exceptions."""
        faults, pause = 0, _RETRY_SECONDS
        while faults < _MAX_FAULTS:
            try:
                if sent is None:
                    sent = await self._tail.last_number(run_id)
                    await in_thread(self._archive.last_number, run_id)  # indexes a long log; later calls are fast
                sent = await self._publish(run_id, sent)
                if run_id in self._finished and not self._changed[run_id].is_set():
                    await self._tail.finish(run_id)
                return sent
            except StoreUnavailable:
                pass
            except Exception:
                report_exception("publisher", f"run {run_id}: cannot update its tail")
                faults += 1
            sent = None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_MAX_SECONDS)
        return None

    async def _publish(self, run_id: str, sent: int) -> int:
        """Publish the lines after number `sent`; return the tail's last number."""
        while (last := self._archive.last_number(run_id)) > sent:
            lines = self._archive.read(run_id, max(sent, last - self._limit), _BATCH_LINES, _BATCH_BYTES)
            await self._tail.publish(run_id, lines, replace=lines[0].number > sent + 1)
            sent = lines[-1].number
            await asyncio.sleep(0)
        return sent
