"""The SSE events of lines, and chunks of them."""

from __future__ import annotations

import pytest

from launcher.domain.log_lines import Gap, LineKind, LogLine, gap_data
from launcher.logs.events import Chunk, line_event
from launching.log_lines import STAMP


@pytest.mark.parametrize(
    ("kind", "data", "event"),
    [
        (LineKind.LINE, b"a\r", b"data: a\nid: 7\n\n"),
        (LineKind.SYSTEM, b"Starting", b"data: Starting\nid: 7\n\n"),
        (LineKind.PART, b"a", b"data: a [line continues]\nid: 7\n\n"),
        (LineKind.LINE, b"", b"data: \nid: 7\n\n"),
        (
            LineKind.LINE,
            b'::progress:: {"step": 1, "of": 2, "label": "x"}',
            b'event: progress\ndata: {"step": 1, "of": 2, "label": "x"}\nid: 7\n\n',
        ),
        (LineKind.LINE, b"::progress:: nonsense", b"data: ::progress:: nonsense\nid: 7\n\n"),
        (
            LineKind.GAP,
            gap_data(Gap(first=7, last=7, why="Gone.")),
            b'event: gap\ndata: {"from": 7, "to": 7, "why": "Gone."}\nid: 7\n\n',
        ),
    ],
)
def test_each_line_is_one_event_with_its_number(kind: LineKind, data: bytes, event: bytes) -> None:
    assert line_event(LogLine(7, STAMP, kind, data)) == event


def test_a_chunk_returns_the_events_after_a_cursor() -> None:
    chunk = Chunk(4, 6, [b"4", b"5", b"6"], b"456")
    assert [chunk.after(cursor) for cursor in (2, 3, 4, 5, 6)] == [b"456", b"456", b"56", b"6", b""]
