"""The feed: one log, read once for this process and shared by all its viewers, as ready-made SSE events.

A viewer is a cursor, not a queue: it takes what comes after its own number from the feed's ring of recent chunks and,
where it is further behind, from the archive. A slow viewer costs nobody anything, and none can miss or see twice.
Wire format: https://html.spec.whatwg.org/multipage/server-sent-events.html, framed by FastAPI.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi.sse import format_sse_event

from launcher.background import report
from launcher.domain.errors import ClusterUnavailable, RunNotFound, StoreUnavailable
from launcher.domain.log_lines import Gap, LineKind, LogLine, as_display, gap_of, progress_of
from launcher.domain.runs import RunStatus
from launcher.domain.text import to_json
from launcher.metrics import STREAM_VIEWERS, expose
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

PING_INTERVAL_SECONDS = 15.0
_REDRAW_SECONDS = 0.2  # between two looks at a line that redraws itself
_WAIT_SECONDS = 0.5  # how long a status change can go unnoticed while no line comes
_AWAY_SECONDS = 0.2  # between two looks at the archive while the tail is away
_RING_BYTES = 2 << 20
_AWAY_RETRY_SECONDS = 5.0  # before the tail is asked again
_ETA_STEP_SECONDS = 5.0  # an ETA that has moved by this much is told
_CATCH_UP_LINES = 1000
_MAX_FAULTS = 5  # in a row
_READ_BYTES = 1 << 20  # of the archive at once
_CHUNK_BYTES = 64 << 10  # about what a viewer that takes nothing holds on to
_RETRY_MILLISECONDS = 1000  # until a browser whose stream ended comes back
_PACE_SECONDS_PER_VIEWER = 0.0002  # with 1,000 viewers, lines are handed out 5 times a second
_PING = b": ping\n\n"

RunDocument = dict[str, Any]
"""The run as REST shows it."""


def line_event(line: LogLine) -> bytes:
    """Return a line as its one SSE event: a line, a progress report, or a gap."""
    number = str(line.number)
    if line.kind is LineKind.GAP:
        gap = to_json(gap_of(line.data).to_document())
        return format_sse_event(event="gap", data_str=gap, id=number)
    if line.kind is LineKind.LINE and (progress := progress_of(line.data)):
        return format_sse_event(event="progress", data_str=to_json(progress), id=number)
    return format_sse_event(data_str=as_display(line.data, part=line.kind is LineKind.PART), id=number)


def partial_event(text: str) -> bytes:
    """Return what a line that is not finished shows now, as an event without a number."""
    return format_sse_event(event="partial", data_str=to_json({"text": text}))


def run_event(name: str, run: RunDocument) -> bytes:
    """Return a run's state as an event without a number."""
    return format_sse_event(event=name, data_str=to_json(run))


@dataclass(frozen=True)
class Chunk:
    """Events `first` … `last`, singly and joined."""

    first: int
    last: int
    events: Sequence[bytes]
    joined: bytes

    def after(self, cursor: int) -> bytes:
        """Return the events whose numbers are above the cursor."""
        return self.joined if cursor < self.first else b"".join(self.events[cursor - self.first + 1 :])


class Partial(NamedTuple):
    """What a line shows that is not finished, and the number of the line before it."""

    after: int
    text: str


def chunks_of(lines: Sequence[LogLine]) -> Iterator[Chunk]:
    """Yield consecutive lines as chunks of about `_CHUNK_BYTES`."""
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
    """One run's log and state for all viewers in this process."""

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
        """Count one viewer more; the first starts the reading, from where it stands."""
        self.viewers += 1
        if self._task is None:
            self.last = cursor
            self._task = asyncio.create_task(self._read(), name=f"feed {self._run_id}")

    def leave(self) -> None:
        """Count one viewer less; the last ends the reading."""
        self.viewers -= 1
        if self.viewers == 0 and self._task:
            self._task.cancel()

    @property
    def partial(self) -> Partial | None:
        """What the line after the last one shows now, which redraws itself and is not finished."""
        return self._partial if self._partial and self._partial.after == self.last else None

    async def changed(self) -> None:
        """Wait for lines or a state. Raises what ended the reading."""
        news = self._news
        if self._task and self._task.done():
            self._task.result()
        await news.wait()

    def take(self, cursor: int) -> tuple[bytes, int]:
        """Return the events after the cursor, as many as go at once, and the new cursor."""
        if cursor >= self.last:
            return b"", cursor
        for chunk in reversed(self._ring):  # most viewers are at the newest
            if chunk.first <= cursor + 1:
                return chunk.after(cursor), chunk.last
        return self._catch_up(cursor)

    def _catch_up(self, cursor: int) -> tuple[bytes, int]:
        count = min(_CATCH_UP_LINES, self.last - cursor)
        lines = self._archive.read(self._run_id, cursor, count, _CHUNK_BYTES)
        if lines:
            return b"".join(map(line_event, lines)), lines[-1].number
        until = self._ring[0].first - 1 if self._ring else self.last
        gap = Gap(first=cursor + 1, last=until, why="These lines are no longer kept.")
        document = to_json(gap.to_document())
        return format_sse_event(event="gap", data_str=document, id=str(until)), until

    async def _read(self) -> None:
        faults = 0
        try:
            while not self.ended:
                try:
                    await self._read_on()
                    faults = 0
                except (
                    RunNotFound,
                    StoreUnavailable,
                    ClusterUnavailable,
                ):  # the viewer reconnects, or learns that the run is gone
                    raise
                except Exception:
                    faults += 1
                    report("feed", f"run {self._run_id}: its log cannot be read for those who follow it")
                    if faults == _MAX_FAULTS:
                        raise
                    await asyncio.sleep(_AWAY_SECONDS * 2**faults)
        finally:
            self.announce()

    async def _read_on(self) -> None:
        run = await self._state()  # before the lines: an ended run's lines are all there
        wait = _WAIT_SECONDS if self._partial is None else _REDRAW_SECONDS
        lines = await self._next_lines(0 if RunStatus(run["status"]).terminal else wait)
        self._push(lines)
        redrawn = self._redraw()
        self.ended = RunStatus(run["status"]).terminal and not lines
        changed = self.ended or _differs(run, self.run)
        if changed:
            self.run = run
        if lines or changed or redrawn:
            self.announce()
        await asyncio.sleep(_PACE_SECONDS_PER_VIEWER * self.viewers)

    def _redraw(self) -> bool:
        """Look at the unfinished line, so often as people can see; say whether it shows something else now."""
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
                report("feed", f"run {self._run_id}: nobody can say what state it is in")
            return self.run  # lines go on meanwhile

    async def _next_lines(self, wait_seconds: float) -> list[LogLine]:
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            await asyncio.sleep(min(wait_seconds, _AWAY_SECONDS))
            return self._archive.read(self._run_id, self.last, max_bytes=_READ_BYTES)
        try:
            lines = await self._tail.read(self._run_id, self.last, wait_seconds=wait_seconds)
        except Exception as exc:
            if not isinstance(exc, StoreUnavailable):
                report("feed", f"run {self._run_id}: its tail cannot be read")
            self._away_until = loop.time() + _AWAY_RETRY_SECONDS
            return self._archive.read(self._run_id, self.last, max_bytes=_READ_BYTES)
        if not lines or lines[0].number > self.last + 1:
            return self._archive.read(self._run_id, self.last, max_bytes=_READ_BYTES) or lines
        return lines

    def _push(self, lines: Sequence[LogLine]) -> None:
        for chunk in chunks_of(lines):
            self._ring.append(chunk)
            self._ring_bytes += len(chunk.joined)
            while self._ring_bytes > _RING_BYTES and len(self._ring) > 1:
                self._ring_bytes -= len(self._ring.popleft().joined)
            self.last = chunk.last

    def announce(self) -> None:
        """Wake every viewer."""
        news, self._news = self._news, asyncio.Event()
        news.set()


def _differs(new: RunDocument, old: RunDocument | None) -> bool:
    """Say whether viewers should hear of it: an ETA that merely counts down is no change."""
    if old is None or new == old:
        return old is None
    places = [run.get("queue") or {} for run in (new, old)]
    etas = [place.get("eta_seconds") or 0.0 for place in places]
    same_place = {**places[0], "eta_seconds": 0} == {**places[1], "eta_seconds": 0}
    return {**new, "queue": 0} != {**old, "queue": 0} or not same_place or abs(etas[0] - etas[1]) >= _ETA_STEP_SECONDS


class FeedHub:
    """The feeds of all runs that somebody watches."""

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
        """Close every stream at once; viewers come back to the next process and go on where they were."""
        self._stopping.set()
        for feed in self._feeds.values():
            feed.announce()

    async def events(self, run_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Yield a run's SSE events after a line's number, to the `end` event; a comment when it is quiet."""
        kept = self._archive.last_number(run_id)
        if kept:
            after = min(after, kept)  # a viewer of a log that was longer than ours sees what is new
        new = Feed(run_id, self._archive, self._tail, self._look, self._unfinished)
        feed = self._feeds.setdefault(run_id, new)
        feed.join(min(after, kept))  # what one viewer has seen, or claims, concerns no other
        STREAM_VIEWERS.inc()
        cursor, seen = after, None
        partial: Partial | None = None
        try:
            head = (
                b"retry: %d\n" % _RETRY_MILLISECONDS
            )  # within the first event: some clients take it for one by itself
            while not self._stopping.is_set():
                body, cursor = feed.take(cursor)
                if feed.run is not None and feed.run != seen and not feed.ended:
                    seen = feed.run
                    body = run_event("status", seen) + body
                if feed.partial != partial and cursor == feed.last and not feed.ended:
                    shown, partial = partial, feed.partial
                    if partial or (shown and shown.after == cursor):  # any line replaces it at the viewer's
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
