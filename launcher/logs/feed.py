"""The feed of one run: its log and state, read once in this process and shared by all viewers as encoded SSE events.

A viewer is a cursor, not a queue. It takes the lines after its cursor from the feed's ring of recent chunks or, if it
is further behind, from the archive. A slow viewer delays nobody, and every viewer gets each line exactly once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from launcher.background import in_thread, report_exception
from launcher.domain.errors import ClusterUnavailable, RunNotFound, StoreUnavailable
from launcher.domain.log_lines import Gap, LogLine
from launcher.domain.runs import RunStatus
from launcher.logs.events import CHUNK_BYTES, Chunk, RunDocument, chunks_of, gap_event, line_event
from launcher.stores.archive import Archive
from launcher.stores.ports import LogTail

_REDRAW_SECONDS = 0.2  # between two updates of a line that redraws itself
_WAIT_SECONDS = 0.5  # how long a status change can go unnoticed while no lines arrive
_TAIL_DOWN_POLL_SECONDS = 0.2  # between two reads of the archive while the tail is down
_TAIL_RETRY_SECONDS = 5.0  # before the tail is tried again
_RING_BYTES = 2 << 20
_ETA_STEP_SECONDS = 5.0  # a smaller change of the ETA is not sent
_CATCH_UP_LINES = 1000
_MAX_FAULTS = 5
"""After this many failures in a row, the feed gives up the rest of a finished run's log, or a run without a state."""
_FAULT_PAUSE_SECONDS, _FAULT_PAUSE_MAX_SECONDS = 0.4, 10.0
_READ_BYTES = 1 << 20  # of the archive at a time
_PACE_SECONDS_PER_VIEWER = 0.0002  # with 1,000 viewers, lines are sent 5 times a second
NOT_KEPT = "These lines are no longer in the archive."
UNREADABLE = "These lines cannot be read from the archive."


class Partial(NamedTuple):
    """The text of an incomplete line, and the number of the line before it."""

    after: int
    text: str


class Feed:
    """One run's log and state, for all its viewers in this process. Call `join`, `next_events` and `leave`."""

    def __init__(
        self,
        run_id: str,
        archive: Archive,
        tail: LogTail,
        fetch_run: Callable[[str], Awaitable[RunDocument]],
        partial_line: Callable[[str], str | None],
    ) -> None:
        self._run_id, self._archive, self._tail, self._fetch_run = run_id, archive, tail, fetch_run
        self._partial_line = partial_line
        self._ring: deque[Chunk] = deque()
        self._ring_bytes = 0
        self._tail_down_until = 0.0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.viewers = 0
        self.last = 0
        self.run: RunDocument | None = None
        self._partial: Partial | None = None
        self._redraw_at = 0.0
        self.finished = False

    def join(self, cursor: int) -> None:
        """Add a viewer. The first one starts reading, at its cursor."""
        self.viewers += 1
        if self._task is None:
            self.last = cursor
            self._task = asyncio.create_task(self._read(), name=f"feed {self._run_id}")

    def leave(self) -> None:
        """Remove a viewer. The last one stops reading."""
        self.viewers -= 1
        if self.viewers == 0 and self._task:
            self._task.cancel()

    @property
    def partial(self) -> Partial | None:
        """The line after the last one, if it is incomplete and redraws itself."""
        return self._partial if self._partial and self._partial.after == self.last else None

    async def changed(self) -> None:
        """Wait for new lines or a new state. Raises the exception that stopped reading, if there is one."""
        changed = self._changed
        if self._task and self._task.done():
            self._task.result()
        await changed.wait()

    async def next_events(self, cursor: int) -> tuple[bytes, int]:
        """Return the events after the cursor, and the new cursor."""
        if cursor >= self.last:
            return b"", cursor
        for chunk in reversed(self._ring):  # most viewers are up to date
            if chunk.first <= cursor + 1:
                return chunk.after(cursor), chunk.last
        return await self._catch_up(cursor)

    async def _catch_up(self, cursor: int) -> tuple[bytes, int]:
        """Return events from the archive; none if it cannot be read and the run is not finished."""
        count, why = min(_CATCH_UP_LINES, self.last - cursor), NOT_KEPT
        for failures in range(1, _MAX_FAULTS + 1):
            try:
                lines = await in_thread(self._archive.read, self._run_id, cursor, count, CHUNK_BYTES)
            except Exception:
                report_exception("feed", f"run {self._run_id}: cannot read its log for a viewer")
                if not self.finished:
                    return b"", cursor
                why = UNREADABLE
                await asyncio.sleep(_fault_pause(failures))
            else:
                if lines:
                    return b"".join(map(line_event, lines)), lines[-1].number
                break
        until = self._ring[0].first - 1 if self._ring else self.last
        return gap_event(Gap(first=cursor + 1, last=until, why=why), until), until

    async def _read(self) -> None:
        """Read until the run is finished and all its lines have been read or given up."""
        faults = 0
        try:
            while not self.finished:
                try:
                    await self._read_next()
                    faults = 0
                except (RunNotFound, StoreUnavailable, ClusterUnavailable):
                    raise  # the viewer reconnects, and gets 404 if the run does not exist
                except Exception:
                    faults += 1
                    report_exception("feed", f"run {self._run_id}: cannot send its log to viewers")
                    if faults >= _MAX_FAULTS:
                        if self.run is None:
                            raise
                        if _terminal(self.run):
                            self._give_up(self.run)
                            return
                    self.announce()  # the state may have changed
                    await asyncio.sleep(_fault_pause(faults))
        finally:
            self.announce()

    async def _read_next(self) -> None:
        """Read the state first, then the lines: a finished run writes no more lines."""
        run = await self._state()
        changed = _differs(run, self.run)
        if changed:
            self.run = run
        wait = _WAIT_SECONDS if self._partial is None else _REDRAW_SECONDS
        lines = await self._next_lines(0 if _terminal(run) else wait)
        self._push(lines)
        redrawn = self._redraw()
        if _terminal(run) and not lines:
            self.run, self.finished = run, True
        if lines or changed or redrawn or self.finished:
            self.announce()
        await asyncio.sleep(_PACE_SECONDS_PER_VIEWER * self.viewers)

    def _give_up(self, run: RunDocument) -> None:
        """Replace the remaining lines of a finished run, which cannot be read, with a gap."""
        lines = (run.get("log") or {}).get("lines") or 0
        if not lines or lines > self.last:
            gap = Gap(first=self.last + 1, last=max(lines, self.last + 1), why=UNREADABLE)
            event = gap_event(gap, gap.last)
            self._append(Chunk(gap.first, gap.last, [event], event))
        self.finished = True

    def _redraw(self) -> bool:
        """Update the partial line, no more often than people can follow; return whether it changed."""
        at = asyncio.get_running_loop().time()
        if at < self._redraw_at:
            return False
        text = self._partial_line(self._run_id)
        partial = None if text is None else Partial(self.last, text)
        if partial == self._partial:
            return False
        self._partial, self._redraw_at = partial, at + _REDRAW_SECONDS
        return True

    async def _state(self) -> RunDocument:
        try:
            return await self._fetch_run(self._run_id)
        except RunNotFound:
            raise
        except Exception as exc:
            if self.run is None:
                raise
            if not isinstance(exc, StoreUnavailable | ClusterUnavailable):
                report_exception("feed", f"run {self._run_id}: cannot read its state")
            return self.run  # lines can still be sent

    async def _next_lines(self, wait_seconds: float) -> list[LogLine]:
        loop = asyncio.get_running_loop()
        if loop.time() < self._tail_down_until:
            await asyncio.sleep(min(wait_seconds, _TAIL_DOWN_POLL_SECONDS))
            return await self._from_archive()
        try:
            lines = await self._tail.read(self._run_id, self.last, wait_seconds=wait_seconds)
        except Exception as exc:
            if not isinstance(exc, StoreUnavailable):
                report_exception("feed", f"run {self._run_id}: cannot read its tail")
            self._tail_down_until = loop.time() + _TAIL_RETRY_SECONDS
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
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _terminal(run: RunDocument) -> bool:
    return RunStatus(run["status"]).terminal


def _fault_pause(faults: int) -> float:
    """Return how long to wait after this many failures in a row."""
    return min(_FAULT_PAUSE_SECONDS * 2.0 ** min(faults - 1, 10), _FAULT_PAUSE_MAX_SECONDS)


def _differs(new: RunDocument, old: RunDocument | None) -> bool:
    """Return whether to send the new state to viewers. An ETA that only counts down with the clock is not a change."""
    if old is None or new == old:
        return old is None
    places = [run.get("queue") or {} for run in (new, old)]
    etas = [place.get("eta_seconds") or 0.0 for place in places]
    same_place = {**places[0], "eta_seconds": 0} == {**places[1], "eta_seconds": 0}
    return {**new, "queue": 0} != {**old, "queue": 0} or not same_place or abs(etas[0] - etas[1]) >= _ETA_STEP_SECONDS
