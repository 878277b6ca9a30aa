"""The SSE events of a run's stream: its lines, gaps and states, encoded.

Wire format: https://html.spec.whatwg.org/multipage/server-sent-events.html, framed by FastAPI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.sse import format_sse_event

from launcher.domain.log_lines import Gap, LineKind, LogLine, as_display, gap_of, progress_of
from launcher.domain.text import to_json

PING_EVENT = b": ping\n\n"
CHUNK_BYTES = 64 << 10
"""The approximate size of a chunk, which is what a viewer that reads nothing holds in memory."""
_RETRY_MILLISECONDS = 1000

RETRY_FIELD = b"retry: %d\n" % _RETRY_MILLISECONDS
"""Sets how long a browser waits before it reconnects. Precedes an event: some clients expect no event without data."""

RunDocument = dict[str, Any]
"""A run as the REST API returns it."""


def line_event(line: LogLine) -> bytes:
    """Return the SSE event of a log line: a plain line, a progress report or a gap."""
    number = str(line.number)
    if line.kind is LineKind.GAP:
        return gap_event(gap_of(line.data), line.number)
    if line.kind is LineKind.LINE and (progress := progress_of(line.data)):
        return format_sse_event(event="progress", data_str=to_json(progress), id=number)
    return format_sse_event(data_str=as_display(line.data, part=line.kind is LineKind.PART), id=number)


def gap_event(gap: Gap, number: int) -> bytes:
    """Return the SSE event of a gap. `number` is its id."""
    return format_sse_event(event="gap", data_str=to_json(gap.to_document()), id=str(number))


def partial_event(text: str) -> bytes:
    """Return the SSE event of an incomplete line. It has no id."""
    return format_sse_event(event="partial", data_str=to_json({"text": text}))


def run_event(name: str, run: RunDocument) -> bytes:
    """Return the SSE event of a run's state. It has no id."""
    return format_sse_event(event=name, data_str=to_json(run))


@dataclass(frozen=True)
class Chunk:
    """The events of lines `first` to `last`, one by one and joined. A gap of several lines is one event."""

    first: int
    last: int
    events: Sequence[bytes]
    joined: bytes

    def after(self, cursor: int) -> bytes:
        """Return the events after the cursor."""
        return self.joined if cursor < self.first else b"".join(self.events[cursor - self.first + 1 :])


def chunks_of(lines: Sequence[LogLine]) -> Iterator[Chunk]:
    """Group consecutive lines into chunks of about `CHUNK_BYTES`."""
    events: list[bytes] = []
    first, size = 0, 0
    for line in lines:
        if not events:
            first = line.number
        events.append(line_event(line))
        size += len(events[-1])
        if size >= CHUNK_BYTES or line is lines[-1]:
            yield Chunk(first, line.number, events, b"".join(events))
            events, size = [], 0
