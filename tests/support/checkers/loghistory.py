"""What was recorded of one run's log, and the archive's text as numbered lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkers.findings import Finding
from checkers.printer import WIDTH_BYTES

GAP_PREFIX = b"[slipway] "
FIRST_LINE = b"Starting pipeline"
PART_BYTES = 64 * 1024  # a longer line has a number for each part of this size

SseEvent = tuple[str, str, str]
"""An event's id, name and data."""


class LogFault(StrEnum):
    """What can be wrong with a log."""

    LOST = "line lost"
    DOUBLED = "line doubled"
    OUT_OF_ORDER = "line out of order"
    ALTERED = "line altered"
    NO_FIRST_LINE = "first line is not the launcher's"
    GAP = "gap that is not allowed"
    GAP_FOR_NOTHING = "gap where nothing is missing"
    RECEIPT_LINES = "receipt's lines"
    RECEIPT_BYTES = "receipt's bytes"
    RECEIPT_COMPLETE = "receipt says complete, but something is missing"
    RECEIPT_INCOMPLETE = "receipt says incomplete, but nothing is missing"
    RECEIPT_GAPS = "receipt's gaps are not the log's"
    SSE_NUMBERS = "SSE ids not contiguous"
    SSE_DIFFERS = "SSE differs from the archive"
    SSE_SHORT = "SSE ends before the log"
    TAIL_NUMBERS = "Redis numbers not contiguous"
    TAIL_DIFFERS = "Redis differs from the archive"
    TAIL_SHORT = "Redis lacks lines that it should hold"


@dataclass(frozen=True, kw_only=True)
class LogHistory:
    """All that is known of the log of a run of the printer, once the run has ended.

    `expected` is the printer's count; None where the printer was ended before its end: then the log may stop at any
    line, torn or not. Where the printer alternates, nothing says which of two lines of different streams came first:
    order is then looked at for each stream. `tail` is what Redis holds, None where Redis is not in use;
    `tail_limit` is LOG_BUFFER_LIMIT. Each of `streams` is one viewer's events from line 1 to the end, over all its
    connections.
    """

    run_id: str
    text: bytes
    receipt: Mapping[str, Any]
    expected: int | None
    width: int = WIDTH_BYTES
    alternating: bool = False
    gaps_allowed: bool = False
    tail: Sequence[tuple[int, bytes]] | None = None
    tail_limit: int | None = None
    streams: Sequence[Sequence[SseEvent]] = ()

    def finding(self, kind: LogFault, detail: str) -> Finding:
        """Return a finding of this run."""
        return Finding(kind, self.run_id, detail)


@dataclass(frozen=True)
class ArchivedLine:
    """A numbered line of the archive; a `part` goes on in the next one."""

    number: int
    data: bytes
    part: bool = False

    @property
    def gap(self) -> str | None:
        """The sentence of a gap's marker; None where it is none."""
        return (
            self.data.removeprefix(GAP_PREFIX).decode("utf-8", "replace") if self.data.startswith(GAP_PREFIX) else None
        )

    @property
    def display(self) -> str:
        """The line as an SSE event shows it."""
        return self.data.decode("utf-8", "replace") + (" [line continues]" if self.part else "")


def archived(text: bytes) -> list[ArchivedLine]:
    """Number the lines of the archive's text."""
    return [ArchivedLine(number, data, part) for number, (data, part) in enumerate(_pieces(text), 1)]


def _pieces(text: bytes) -> Iterator[tuple[bytes, bool]]:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for line in lines:
        while len(line) > PART_BYTES:
            yield line[:PART_BYTES], True
            line = line[PART_BYTES:]
        yield line, False
