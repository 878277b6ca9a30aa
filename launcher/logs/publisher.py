"""The publisher: follows each log's archive and brings its tail (Redis) up to it, however long the tail was away.

It reads from the archive what the tail lacks, so a restart or an outage is nothing special: it begins again where the
tail's last number stands. More than `limit` lines behind, it leaves out what the tail would not keep anyway.
"""

from __future__ import annotations

import asyncio

from launcher.background import Tasks, report
from launcher.domain.errors import StoreUnavailable
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

_BATCH_LINES, _BATCH_BYTES = 1000, 1 << 20  # at a time
_RETRY_SECONDS, _RETRY_MAX_SECONDS = 0.1, 2.0
_MAX_FAULTS = 3
"""So often in a row a tail is tried that fails for no known reason; readers have the archive."""


class Publisher:
    """Brings the tails of all logs up to the archive, one task a log that is being written."""

    def __init__(self, archive: Archive, tail: LogTail, limit: int) -> None:
        self._archive, self._tail, self._limit = archive, tail, limit
        self._news: dict[str, asyncio.Event] = {}
        self._finished: set[str] = set()
        self._tasks = Tasks()

    def wake(self, run_id: str) -> None:
        """Say that a log has grown."""
        if run_id not in self._news:
            self._news[run_id] = asyncio.Event()
            self._tasks.start(self._follow(run_id), f"publish {run_id}")
        self._news[run_id].set()

    def finish(self, run_id: str) -> None:
        """Say that a log has ended: its tail is brought up to it a last time."""
        self._finished.add(run_id)
        self.wake(run_id)

    def pending(self, run_id: str) -> bool:
        """Whether the tail may still lack lines of a log that is written, or has ended."""
        return run_id in self._news

    async def stop(self) -> None:
        """End; what a tail lacks, readers take from the archive."""
        await self._tasks.stop()

    async def _follow(self, run_id: str) -> None:
        """Bring a tail up to its log until the log has ended; where that is given up, the next line starts it again."""
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
        """Bring a tail up, however often that takes; return its last number, None where it is given up."""
        faults, pause = 0, _RETRY_SECONDS
        while faults < _MAX_FAULTS:
            try:
                if sent is None:
                    sent = await self._tail.last_number(run_id)
                sent = await self._bring_up(run_id, sent)
                if run_id in self._finished and not self._news[run_id].is_set():
                    await self._tail.finish(run_id)
                return sent
            except StoreUnavailable:
                pass
            except Exception:
                report("publish", f"run {run_id}: its tail cannot be brought up")
                faults += 1
            sent = None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_MAX_SECONDS)
        return None

    async def _bring_up(self, run_id: str, sent: int) -> int:
        """Publish what the tail lacks, but not what it would drop again at once."""
        while (last := self._archive.last_number(run_id)) > sent:
            lines = self._archive.read(run_id, max(sent, last - self._limit), _BATCH_LINES, _BATCH_BYTES)
            await self._tail.publish(run_id, lines, anew=lines[0].number > sent + 1)
            sent = lines[-1].number
            await asyncio.sleep(0)
        return sent
