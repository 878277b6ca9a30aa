from __future__ import annotations

from itertools import count

import pytest

from frontend.streaming import RETRY, complete_events, until

EVENTS = b"id: 1\ndata: one\n\n: still here\n\nid: 2\r\ndata: two\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_forwarded_byte_for_byte_however_they_are_chunked(size: int) -> None:
    chunks = [EVENTS[at : at + size] for at in range(0, len(EVENTS), size)]
    pieces = list(complete_events(chunks))
    assert b"".join(pieces) == EVENTS
    assert all(piece.endswith((b"\n\n", b"\r\n\r\n")) for piece in pieces)


def test_incomplete_last_event_is_dropped() -> None:
    assert b"".join(complete_events([EVENTS, b"id: 3\ndata: thr"])) == EVENTS


def test_stream_ends_between_two_events_at_its_deadline() -> None:
    ticks = count(1)
    chunks = (
        f"id: {n}\ndata: x\n\nid: half".encode() if n == 3 else f"id: {n}\ndata: x\n\n".encode() for n in count(1)
    )
    sent = b"".join(until(3.0, chunks, lambda: float(next(ticks))))
    assert sent == RETRY + b"id: 1\ndata: x\n\nid: 2\ndata: x\n\nid: 3\ndata: x\n\n"
