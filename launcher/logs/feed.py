"""The feed: one run's log and state, read once in this process and shared by all viewers as encoded SSE events.

A viewer is a cursor, not a queue. It takes the lines after its own number from the feed's ring of recent chunks or, if
it is further behind, from the archive. A slow viewer delays nobody, and nobody can miss a line or see it twice.
Wire format: https://html.spec.whatwg.org/multipage/server-sent-events.html, framed by FastAPI.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi.sse import format_sse_event

from launcher.background import in_thread, report
from launcher.domain.errors import ClusterUnavailable, RunNotFound, StoreUnavailable
from launcher.domain.log_lines import Gap, LineKind, LogLine, as_display, gap_of, progress_of
from launcher.domain.runs import RunStatus
from launcher.domain.text import to_json
from launcher.metrics import STREAM_VIEWERS, expose
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

PING_INTERVAL_SECONDS = 15.0
_REDRAW_SECONDS = 0.2  # between two frames of a line that redraws itself
_WAIT_SECONDS = 0.5  # how long a status change can go unnoticed while no lines arrive
_AWAY_SECONDS = 0.2  # between two reads of the archive while the tail is down
_AWAY_RETRY_SECONDS = 5.0  # before the tail is tried again
_RING_BYTES = 2 << 20
_ETA_STEP_SECONDS = 5.0  # viewers hear of an ETA that has moved by this much
_CATCH_UP_LINES = 1000
_MAX_FAULTS = 5
"""After so many failures in a row, the rest of an ended run's log is given up, as are runs without a known state."""
_FAULT_PAUSE_SECONDS, _FAULT_PAUSE_MAX_SECONDS = 0.4, 10.0
_READ_BYTES = 1 << 20  # of the archive at a time
_CHUNK_BYTES = 64 << 10  # about what a viewer that reads nothing keeps in memory
_RETRY_MILLISECONDS = 1000  # before a browser reconnects
_PACE_SECONDS_PER_VIEWER = 0.0002  # with 1,000 viewers, lines are sent 5 times a second
_NOT_KEPT = "These lines are no longer kept."
_UNREADABLE = "These lines cannot be read from the archive."
_PING = b": ping\n\n"

RunDocument = dict[str, Any]
"""The run as REST shows it."""


def line_event(line: LogLine) -> bytes:
    """Return the SSE event of a line: a line, a progress report, or a gap."""
    number = str(line.number)
    if line.kind is LineKind.GAP:
        return gap_event(gap_of(line.data), line.number)
    if line.kind is LineKind.LINE and (progress := progress_of(line.data)):
        return format_sse_event(event="progress", data_str=to_json(progress), id=number)
    return format_sse_event(data_str=as_display(line.data, part=line.kind is LineKind.PART), id=number)


def gap_event(gap: Gap, number: int) -> bytes:
    """Return the SSE event of a gap; `number` is its id."""
    return format_sse_event(event="gap", data_str=to_json(gap.to_document()), id=str(number))


def partial_event(text: str) -> bytes:
    """Return the SSE event of a line that is not finished; it has no id."""
    return format_sse_event(event="partial", data_str=to_json({"text": text}))


def run_event(name: str, run: RunDocument) -> bytes:
    """Return the SSE event of a run's state; it has no id."""
    return format_sse_event(event=name, data_str=to_json(run))


@dataclass(frozen=True)
class Chunk:
    """The events of lines `first` to `last`, separate and joined. A gap of several lines is one event."""

    first: int
    last: int
    events: Sequence[bytes]
    joined: bytes

    def after(self, cursor: int) -> bytes:
        """Return the events of the lines after the cursor."""
        return self.joined if cursor < self.first else b"".join(self.events[cursor - self.first + 1 :])


class Partial(NamedTuple):
    """The text of a line that is not finished, and the number of the line before it."""

    after: int
    text: str


def chunks_of(lines: Sequence[LogLine]) -> Iterator[Chunk]:
    """Group consecutive lines into chunks of about `_CHUNK_BYTES`."""
    events: list[bytes] = []
    first, size = 0, 0
    for line in lines:
        if not events:
            first = line.number
        events.append(line_event(line))
        size += len(events[-1])
        if size >= _CHUNK_BYTES or line is lines[-1]:
            yield Chunk(first, line.number, events, b"".join(events))
            events, size = [], 0


class Feed:
    """One run's log and state, for all its viewers in this process."""

    def __init__(
        self,
        run_id: str,
        archive: Archive,
        tail: LogTail,
        look: Callable[[str], Awaitable[RunDocument]],
        unfinished: Callable[[str], str | None],
    ) -> None:
        self._run_id, self._archive, self._tail, self._look = run_id, archive, tail, look
        self._unfinished = unfinished
        self._ring: deque[Chunk] = deque()
        self._ring_bytes = 0
        self._away_until = 0.0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.viewers = 0
        self.last = 0
        self.run: RunDocument | None = None
        self._partial: Partial | None = None
        self._redraw_at = 0.0
        self.ended = False

    def join(self, cursor: int) -> None:
        """Add a viewer. The first one starts reading the log at its cursor."""
        self.viewers += 1
        if self._task is None:
            self.last = cursor
            self._task = asyncio.create_task(self._read(), name=f"feed {self._run_id}")

    def leave(self) -> None:
        """Remove a viewer. The last one stops reading the log."""
        self.viewers -= 1
        if self.viewers == 0 and self._task:
            self._task.cancel()

    @property
    def partial(self) -> Partial | None:
        """The line after the last one, if it redraws itself and is not finished."""
        return self._partial if self._partial and self._partial.after == self.last else None

    async def changed(self) -> None:
        """Wait for lines or a new state. Raises the exception that ended the reading."""
        news = self._news
        if self._task and self._task.done():
            self._task.result()
        await news.wait()

    async def take(self, cursor: int) -> tuple[bytes, int]:
        """Return the next events after the cursor, and the new cursor."""
        if cursor >= self.last:
            return b"", cursor
        for chunk in reversed(self._ring):  # most viewers are at the newest one
            if chunk.first <= cursor + 1:
                return chunk.after(cursor), chunk.last
        return await self._catch_up(cursor)

    async def _catch_up(self, cursor: int) -> tuple[bytes, int]:
        """Return the next events from the archive; nothing if it cannot be read now and the run has not ended."""
        count, why = min(_CATCH_UP_LINES, self.last - cursor), _NOT_KEPT
        for failures in range(1, _MAX_FAULTS + 1):
            try:
                lines = await in_thread(self._archive.read, self._run_id, cursor, count, _CHUNK_BYTES)
            except Exception:
                report("feed", f"run {self._run_id}: its log cannot be read for a viewer")
                if not self.ended:
                    return b"", cursor
                why = _UNREADABLE
                await asyncio.sleep(_fault_pause(failures))
            else:
                if lines:
                    return b"".join(map(line_event, lines)), lines[-1].number
                break
        until = self._ring[0].first - 1 if self._ring else self.last
        return gap_event(Gap(first=cursor + 1, last=until, why=why), until), until

    async def _read(self) -> None:
        """Read until the run has ended and all its lines have been read, or given up."""
        faults = 0
        try:
            while not self.ended:
                try:
                    await self._read_next()
                    faults = 0
                except (RunNotFound, StoreUnavailable, ClusterUnavailable):
                    raise  # the viewer reconnects, and is told if the run is gone
                except Exception:
                    faults += 1
                    report("feed", f"run {self._run_id}: its viewers cannot be sent its log")
                    if faults >= _MAX_FAULTS:
                        if self.run is None:
                            raise
                        if _terminal(self.run):
                            self._give_up(self.run)
                            return
                    self.announce()  # its state may have changed
                    await asyncio.sleep(_fault_pause(faults))
        finally:
            self.announce()

    async def _read_next(self) -> None:
        """Read the state, then the lines: all lines of an ended run have been written."""
        run = await self._state()
        changed = _differs(run, self.run)
        if changed:
            self.run = run
        wait = _WAIT_SECONDS if self._partial is None else _REDRAW_SECONDS
        lines = await self._next_lines(0 if _terminal(run) else wait)
        self._push(lines)
        redrawn = self._redraw()
        if _terminal(run) and not lines:
            self.run, self.ended = run, True
        if lines or changed or redrawn or self.ended:
            self.announce()
        await asyncio.sleep(_PACE_SECONDS_PER_VIEWER * self.viewers)

    def _give_up(self, run: RunDocument) -> None:
        """Put a gap in place of the lines of an ended run that cannot be read."""
        lines = (run.get("log") or {}).get("lines") or 0
        if not lines or lines > self.last:
            gap = Gap(first=self.last + 1, last=max(lines, self.last + 1), why=_UNREADABLE)
            event = gap_event(gap, gap.last)
            self._append(Chunk(gap.first, gap.last, [event], event))
        self.ended = True

    def _redraw(self) -> bool:
        """Update the unfinished line, as often as people can see it; return whether it changed."""
        at = asyncio.get_running_loop().time()
        if at < self._redraw_at:
            return False
        text = self._unfinished(self._run_id)
        partial = None if text is None else Partial(self.last, text)
        if partial == self._partial:
            return False
        self._partial, self._redraw_at = partial, at + _REDRAW_SECONDS
        return True

    async def _state(self) -> RunDocument:
        try:
            return await self._look(self._run_id)
        except RunNotFound:
            raise
        except Exception as exc:
            if self.run is None:
                raise
            if not isinstance(exc, StoreUnavailable | ClusterUnavailable):
                report("feed", f"run {self._run_id}: its state is unknown")
            return self.run  # its lines continue meanwhile

    async def _next_lines(self, wait_seconds: float) -> list[LogLine]:
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            await asyncio.sleep(min(wait_seconds, _AWAY_SECONDS))
            return await self._from_archive()
        try:
            lines = await self._tail.read(self._run_id, self.last, wait_seconds=wait_seconds)
        except Exception as exc:
            if not isinstance(exc, StoreUnavailable):
                report("feed", f"run {self._run_id}: its tail cannot be read")
            self._away_until = loop.time() + _AWAY_RETRY_SECONDS
            return await self._from_archive()
        if not lines or lines[0].number > self.last + 1:
            return await self._from_archive() or lines
        return lines

    async def _from_archive(self) -> list[LogLine]:
        return await in_thread(self._archive.read, self._run_id, self.last, max_bytes=_READ_BYTES)

    def _push(self, lines: Sequence[LogLine]) -> None:
        for chunk in chunks_of(lines):
            self._append(chunk)

    def _append(self, chunk: Chunk) -> None:
        self._ring.append(chunk)
        self._ring_bytes += len(chunk.joined)
        while self._ring_bytes > _RING_BYTES and len(self._ring) > 1:
            self._ring_bytes -= len(self._ring.popleft().joined)
        self.last = chunk.last

    def announce(self) -> None:
        """Wake every viewer."""
        news, self._news = self._news, asyncio.Event()
        news.set()


def _terminal(run: RunDocument) -> bool:
    return RunStatus(run["status"]).terminal


def _fault_pause(faults: int) -> float:
    """Return how long to wait after so many failures in a row."""
    return min(_FAULT_PAUSE_SECONDS * 2.0 ** min(faults - 1, 10), _FAULT_PAUSE_MAX_SECONDS)


def _differs(new: RunDocument, old: RunDocument | None) -> bool:
    """Return whether viewers should be sent the new state. An ETA that counts down with the clock is no change."""
    if old is None or new == old:
        return old is None
    places = [run.get("queue") or {} for run in (new, old)]
    etas = [place.get("eta_seconds") or 0.0 for place in places]
    same_place = {**places[0], "eta_seconds": 0} == {**places[1], "eta_seconds": 0}
    return {**new, "queue": 0} != {**old, "queue": 0} or not same_place or abs(etas[0] - etas[1]) >= _ETA_STEP_SECONDS


class FeedHub:
    """The feeds of all runs that have viewers."""

    def __init__(
        self,
        archive: Archive,
        tail: LogTail,
        look: Callable[[str], Awaitable[RunDocument]],
        unfinished: Callable[[str], str | None] = lambda run_id: None,
    ) -> None:
        expose(STREAM_VIEWERS)
        self._archive, self._tail, self._look, self._unfinished = archive, tail, look, unfinished
        self._feeds: dict[str, Feed] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Close every stream at once. Viewers reconnect to the next process and resume where they were."""
        self._stopping.set()
        for feed in self._feeds.values():
            feed.announce()

    async def events(self, run_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Yield a run's SSE events after a line's number, up to the `end` event; a comment when there are none."""
        kept = await self._last_number(run_id)
        if kept:
            after = min(after, kept)  # a viewer that saw more lines than there are gets the new ones
        new = Feed(run_id, self._archive, self._tail, self._look, self._unfinished)
        feed = self._feeds.setdefault(run_id, new)
        feed.join(min(after, kept))  # whatever one viewer claims to have seen, others get every line
        STREAM_VIEWERS.inc()
        cursor, seen = after, None
        partial: Partial | None = None
        try:
            head = b"retry: %d\n" % _RETRY_MILLISECONDS  # in the first event: some clients expect no event without data
            while not self._stopping.is_set():
                body, cursor = await feed.take(cursor)
                if feed.run is not None and feed.run != seen and not feed.ended:
                    seen = feed.run
                    body = run_event("status", seen) + body
                if feed.partial != partial and cursor == feed.last and not feed.ended:
                    shown, partial = partial, feed.partial
                    if partial or (shown and shown.after == cursor):  # any line replaces it
                        body += partial_event(partial.text if partial else "")
                if body:
                    yield head + body
                    head = b""
                    continue
                if feed.ended and feed.run is not None:
                    status = run_event("status", feed.run) if feed.run != seen else b""
                    yield head + status + run_event("end", feed.run)
                    return
                try:
                    async with asyncio.timeout(PING_INTERVAL_SECONDS):
                        await feed.changed()
                except TimeoutError:
                    yield _PING
        finally:
            STREAM_VIEWERS.dec()
            feed.leave()
            if feed.viewers == 0:
                self._feeds.pop(run_id, None)

    async def _last_number(self, run_id: str) -> int:
        """Return the number of a log's last line; 0 if there is none, or the archive cannot be read now."""
        try:
            return await in_thread(self._archive.last_number, run_id)
        except Exception:
            report("feed", f"run {run_id}: its lines cannot be counted")
            return 0
