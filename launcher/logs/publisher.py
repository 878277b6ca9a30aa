"""The publisher: follows each log's archive and brings its tail (Redis) up to it, however long the tail was away.

It reads from the archive what the tail lacks, so a restart or an outage is nothing special: it begins again where the
tail's last number stands. More than `limit` lines behind, it leaves out what the tail would not keep anyway.
"""

from __future__ import annotations

import asyncio
import logging

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from launcher.domain.errors import StoreUnavailable
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

_BATCH_LINES = 1000  # at a time
_RETRY_MAX_SECONDS = 2.0
log = logging.getLogger(__name__)


class Publisher:
    """Brings the tails of all logs up to the archive, one task a log that is being written."""

    def __init__(self, archive: Archive, tail: LogTail, limit: int) -> None:
        self._archive, self._tail, self._limit = archive, tail, limit
        self._news: dict[str, asyncio.Event] = {}
        self._finished: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, run_id: str) -> None:
        """Say that a log has grown."""
        if run_id not in self._news:
            self._news[run_id] = asyncio.Event()
            task = asyncio.create_task(self._follow(run_id), name=f"publish {run_id}")
            self._tasks.add(task)
            task.add_done_callback(lambda task: self._ended(run_id, task))
        self._news[run_id].set()

    def finish(self, run_id: str) -> None:
        """Say that a log has ended: its tail is brought up to it a last time."""
        self._finished.add(run_id)
        self.wake(run_id)

    def owes(self, run_id: str) -> bool:
        """Whether the tail may still lack lines of a log that is written, or has ended."""
        return run_id in self._news

    async def stop(self) -> None:
        """End; what a tail lacks, readers take from the archive."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, run_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):  # the log's next line begins it anew
            log.error("run %s: its tail is not brought up", run_id, exc_info=fault)
            self._finished.discard(run_id)
            del self._news[run_id]

    async def _follow(self, run_id: str) -> None:
        sent: int | None = None
        while True:
            await self._news[run_id].wait()
            self._news[run_id].clear()
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(0.1, _RETRY_MAX_SECONDS)
            )
            async for attempt in retrying:
                with attempt:
                    if sent is None or attempt.retry_state.attempt_number > 1:
                        sent = await self._tail.last_number(run_id)
                    sent = await self._bring_up(run_id, sent)
                    finished = run_id in self._finished and not self._news[run_id].is_set()
                    if finished:
                        await self._tail.finish(run_id)
            if finished:
                self._finished.discard(run_id)
                del self._news[run_id]
                return

    async def _bring_up(self, run_id: str, sent: int) -> int:
        """Publish what the tail lacks, but not what it would drop again at once."""
        while (last := self._archive.last_number(run_id)) > sent:
            lines = self._archive.read(run_id, max(sent, last - self._limit), _BATCH_LINES)
            await self._tail.publish(run_id, lines, anew=lines[0].number > sent + 1)
            sent = lines[-1].number
            await asyncio.sleep(0)
        return sent
