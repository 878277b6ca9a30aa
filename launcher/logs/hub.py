"""The hub: one feed for each run that has viewers, and the stream that each viewer gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from launcher.background import in_thread, report_exception
from launcher.logs.events import PING_EVENT, RETRY_FIELD, RunDocument, partial_event, run_event
from launcher.logs.feed import Feed, Partial
from launcher.metrics import STREAM_VIEWERS, expose
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

PING_INTERVAL_SECONDS = 15.0


class FeedHub:
    """All feeds of this process. A feed exists while its run has viewers."""

    def __init__(
        self,
        archive: Archive,
        tail: LogTail,
        fetch_run: Callable[[str], Awaitable[RunDocument]],
        partial_line: Callable[[str], str | None] = lambda run_id: None,
    ) -> None:
        expose(STREAM_VIEWERS)
        self._archive, self._tail, self._fetch_run, self._partial_line = archive, tail, fetch_run, partial_line
        self._feeds: dict[str, Feed] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Close all streams immediately. Viewers reconnect to the next process and resume there."""
        self._stopping.set()
        for feed in self._feeds.values():
            feed.announce()

    async def events(self, run_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Yield a run's SSE events for the lines after `after`, up to the `end` event. Pings while nothing happens."""
        last = await self._last_number(run_id)
        if last:
            after = min(after, last)  # a viewer that claims more lines than exist gets the new ones
        new = Feed(run_id, self._archive, self._tail, self._fetch_run, self._partial_line)
        feed = self._feeds.setdefault(run_id, new)
        feed.join(min(after, last))  # other viewers get every line, whatever this one claims
        STREAM_VIEWERS.inc()
        cursor, sent = after, None
        partial: Partial | None = None
        try:
            head = RETRY_FIELD
            while not self._stopping.is_set():
                body, cursor = await feed.next_events(cursor)
                if feed.run is not None and feed.run != sent and not feed.finished:
                    sent = feed.run
                    body = run_event("status", sent) + body
                if feed.partial != partial and cursor == feed.last and not feed.finished:
                    previous, partial = partial, feed.partial
                    if partial or (previous and previous.after == cursor):  # a later line has replaced it already
                        body += partial_event(partial.text if partial else "")
                if body:
                    yield head + body
                    head = b""
                    continue
                if feed.finished and feed.run is not None:
                    status = run_event("status", feed.run) if feed.run != sent else b""
                    yield head + status + run_event("end", feed.run)
                    return
                try:
                    async with asyncio.timeout(PING_INTERVAL_SECONDS):
                        await feed.changed()
                except TimeoutError:
                    yield PING_EVENT
        finally:
            STREAM_VIEWERS.dec()
            feed.leave()
            if feed.viewers == 0:
                self._feeds.pop(run_id, None)

    async def _last_number(self, run_id: str) -> int:
        """Return the number of a log's last line; 0 if there is none, or the archive cannot be read."""
        try:
            return await in_thread(self._archive.last_number, run_id)
        except Exception:
            report_exception("feed", f"run {run_id}: cannot count its log lines")
            return 0
