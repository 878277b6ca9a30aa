"""The records of one run's log, and the archive's text as numbered lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkers.findings import Finding
from checkers.printer import WIDTH_BYTES

GAP_PREFIX = b"[slipway] "
FIRST_LINE = b"Starting pipeline"
PART_BYTES = 64 * 1024  # each part of a longer line has its own number

SseEvent = tuple[str, str, str]
"""An event's id, name and data."""


class LogFault(StrEnum):
    """What can be wrong with a log."""

    LOST = "line lost"
    DUPLICATED = "line duplicated"
    OUT_OF_ORDER = "line out of order"
    ALTERED = "line altered"
    NO_FIRST_LINE = "first line is not the launcher's"
    GAP = "gap that is not allowed"
    UNNEEDED_GAP = "gap although nothing is missing"
    RECEIPT_LINES = "receipt has the wrong number of lines"
    RECEIPT_BYTES = "receipt has the wrong number of bytes"
    RECEIPT_COMPLETE = "receipt says complete, but something is missing"
    RECEIPT_INCOMPLETE = "receipt says incomplete, but nothing is missing"
    RECEIPT_GAPS = "receipt's gaps differ from the log's"
    SSE_NUMBERS = "SSE ids not contiguous"
    SSE_DIFFERS = "SSE differs from the archive"
    SSE_SHORT = "SSE ends before the log"
    TAIL_NUMBERS = "Redis numbers not contiguous"
    TAIL_DIFFERS = "Redis differs from the archive"
    TAIL_SHORT = "Redis is missing lines"


@dataclass(frozen=True, kw_only=True)
class LogHistory:
    """Everything known about the log of a finished run of the printer.

    `expected` is the printer's count; None if the printer was stopped early, as the log may then end anywhere, even
    within a line. If the printer alternates, the order of lines between the two streams is unknown, so order is
    checked per stream. `tail` is what Redis holds, None if Redis is not used; `tail_limit` is LOG_BUFFER_LIMIT. Each
    of `streams` is one viewer's events from line 1 to the end, over all its connections.
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
    """A numbered line of the archive; a `part` continues in the next one."""

    number: int
    data: bytes
    part: bool = False

    @property
    def gap(self) -> str | None:
        """The text of a gap marker; None for other lines."""
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
