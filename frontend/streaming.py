"""Forwarding of event streams: cut only between events, and closed before the platform closes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

RETRY = b"retry: 1000\n\n"
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def complete_events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, in chunks that each end at the end of an event; an incomplete last event is dropped.

    The browser resumes after the last event that it received, so a dropped event is sent again.
    """
    rest = b""
    for chunk in chunks:
        searched = max(0, len(rest) - 3)  # the blank line may span two chunks
        rest += chunk
        end = 0
        for match in _BLANK_LINE.finditer(rest, searched):
            end = match.end()
        if end:
            yield rest[:end]
            rest = rest[end:]


def until(deadline: float, chunks: Iterable[bytes], clock: Callable[[], float]) -> Iterator[bytes]:
    """The `retry` field, then complete events until the `deadline` on the `clock`, in seconds.

    The clock is checked after each chunk: the source must send one from time to time, or time out.
    """

    def until_deadline() -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            if clock() >= deadline:
                return

    yield RETRY
    yield from complete_events(until_deadline())
