"""Event streams passed on: cut only between events, and ended before the platform ends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

RETRY = b"retry: 1000\n\n"
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def whole_events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in the same order, in pieces that each end with an event; an event cut off at the end is left out.

    The browser resumes after the last event that it has, so what is left out comes again.
    """
    rest = b""
    for chunk in chunks:
        searched = max(0, len(rest) - 3)  # the blank line may lie across two chunks
        rest += chunk
        end = 0
        for match in _BLANK_LINE.finditer(rest, searched):
            end = match.end()
        if end:
            yield rest[:end]
            rest = rest[end:]


def until(deadline: float, chunks: Iterable[bytes], clock: Callable[[], float]) -> Iterator[bytes]:
    """Whole events up to the `deadline` on the `clock`, in seconds, and then when to come back.

    It looks at the clock with each chunk: the source must send one now and then, or time out.
    """

    def in_time() -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            if clock() >= deadline:
                return

    yield RETRY
    yield from whole_events(in_time())
