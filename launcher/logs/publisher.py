"""The publisher: follows each log in the archive and brings its tail (Redis) up to date, however long it was down.

It reads from the archive what the tail does not have, so a restart or an outage needs no special case: it resumes after
the tail's last number. If it is more than `limit` lines behind, it skips those that the tail would not keep.
"""

from __future__ import annotations

import asyncio

from launcher.background import Tasks, in_thread, report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.log_lines import LogLine
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

_BATCH_LINES, _BATCH_BYTES = 1000, 1 << 20
_RETRY_SECONDS, _RETRY_MAX_SECONDS = 0.1, 2.0
_MAX_FAULTS = 3
"""After this many unexpected exceptions in a row the tail is given up until the next line; readers use the archive."""


class Publisher:
    """Brings the tails of all logs up to date, in one task for each log that is being written."""

    def __init__(self, archive: Archive, tail: LogTail, limit: int) -> None:
        self._archive, self._tail, self._limit = archive, tail, limit
        self._news: dict[str, asyncio.Event] = {}
        self._finished: set[str] = set()
        self._tasks = Tasks()

    def wake(self, run_id: str) -> None:
        """Note that a log has grown."""
        if run_id not in self._news:
            self._news[run_id] = asyncio.Event()
            self._tasks.start(self._follow(run_id), f"publish {run_id}")
        self._news[run_id].set()

    def finish(self, run_id: str) -> None:
        """Note that a log has ended: its tail is brought up to date for the last time."""
        self._finished.add(run_id)
        self.wake(run_id)

    def pending(self, run_id: str) -> bool:
        """Return whether the tail of a log may still lack lines."""
        return run_id in self._news

    async def stop(self) -> None:
        """Stop; readers take from the archive what a tail lacks."""
        await self._tasks.stop()

    async def _follow(self, run_id: str) -> None:
        """Keep a tail up to date until its log has ended, or the tail is given up."""
        try:
            sent: int | None = None
            while True:
                await self._news[run_id].wait()
                self._news[run_id].clear()
                sent = await self._retry_forever(run_id, sent)
                if sent is None or (run_id in self._finished and not self._news[run_id].is_set()):
                    return
        finally:
            self._finished.discard(run_id)
            del self._news[run_id]

    async def _retry_forever(self, run_id: str, sent: int | None) -> int | None:
        """Publish as often as it takes; return the tail's last number, or None if the tail is given up."""
        faults, pause = 0, _RETRY_SECONDS
        while faults < _MAX_FAULTS:
            try:
                if sent is None:
                    sent = await self._tail.last_number(run_id)
                sent = await self._publish(run_id, sent)
                if run_id in self._finished and not self._news[run_id].is_set():
                    await self._tail.finish(run_id)
                return sent
            except StoreUnavailable:
                pass
            except Exception:
                report("publish", f"run {run_id}: its tail cannot be brought up to date")
                faults += 1
            sent = None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_MAX_SECONDS)
        return None

    async def _publish(self, run_id: str, sent: int) -> int:
        """Publish the lines after `sent`; return the tail's last number."""
        while True:
            last, lines = await in_thread(self._lines_after, run_id, sent)
            if not lines:
                return sent
            await self._tail.publish(run_id, lines, replace=lines[0].number > sent + 1)
            sent = lines[-1].number
            if sent >= last:  # what was written meanwhile has set the event again
                return sent

    def _lines_after(self, run_id: str, sent: int) -> tuple[int, list[LogLine]]:
        """Return the log's last number, and the next lines of those that the tail keeps."""
        last = self._archive.last_number(run_id)
        if last <= sent:
            return last, []
        return last, self._archive.read(run_id, max(sent, last - self._limit), _BATCH_LINES, _BATCH_BYTES)
