"""A log: numbered lines, how bytes become lines, how a line reads on the wire, and the receipt.

A *line* is what stands between newlines, at most `MAX_LINE_BYTES` of it: a longer one is kept in parts, each with a
number of its own, all but the last marked as continuing. So no line needs more memory than that, numbers can be given
as the bytes come, and joining the parts gives the bytes back. What Slipway itself adds (the first line, a gap's
marker) is numbered too: one number, one event at the viewer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from launcher.domain.text import clean_text

MAX_LINE_BYTES = 64 * 1024
PROGRESS_PREFIX = b"::progress::"
_MAX_PROGRESS_BYTES = 4096
_MAX_LABEL = 200  # characters


class LineKind(StrEnum):
    """What a line of the archive is. The letter is the archive's."""

    LINE = "L"
    PART = "P"
    """The line goes on in the next one."""
    SYSTEM = "S"
    """Said by Slipway, not by the pipeline."""
    GAP = "G"
    """Stands in the place of lines that are not kept; its data is the JSON of a `Gap`."""


class LogLine(NamedTuple):
    """One numbered line: number from 1, RFC 3339 time to the nanosecond, kind, bytes without the newline."""

    number: int
    timestamp: str
    kind: LineKind
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Lines that are not kept. `first` and `last` are the numbers that the viewer misses; `why` is a sentence."""

    first: int
    last: int
    why: str

    def to_document(self) -> dict[str, Any]:
        """Return `{from, to, why}`, as the stream and the receipt show it."""
        return {"from": self.first, "to": self.last, "why": self.why}


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What is kept of a run's log.

    `lines` numbered lines; `bytes` as `GET /jobs/{run_id}/log` serves them; `complete`: the log has ended and nothing
    is missing; `gaps` where something is.
    """

    lines: int = 0
    bytes: int = 0
    complete: bool = False
    gaps: tuple[Gap, ...] = ()


class TimestampedPiece(NamedTuple):
    """What becomes a numbered line: its source's time stamp, kind, bytes without the newline."""

    timestamp: str
    kind: LineKind
    data: bytes


class LineSplitter:
    """Turns bytes, as they come, into lines and parts. Holds less than `limit` bytes between calls."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, chunk: bytes) -> list[tuple[LineKind, bytes]]:
        """Take bytes; return the lines and parts that are whole now."""
        pieces = (self._rest + chunk).split(b"\n")
        self._rest = pieces.pop()
        lines: list[tuple[LineKind, bytes]] = []
        for piece in pieces:
            if len(piece) > self._limit:
                parts, piece = cut(piece, self._limit)
                lines += [(LineKind.PART, part) for part in parts]
            lines.append((LineKind.LINE, piece))
        if len(self._rest) > self._limit:
            parts, self._rest = cut(self._rest, self._limit)
            lines += [(LineKind.PART, part) for part in parts]
        return lines

    @property
    def rest(self) -> bytes:
        """What has come of the line that is not whole yet."""
        return self._rest

    def flush(self) -> list[tuple[LineKind, bytes]]:
        """Return the last line, if it came without a newline."""
        rest, self._rest = self._rest, b""
        return [(LineKind.LINE, rest)] if rest else []


def cut(data: bytes, limit: int = MAX_LINE_BYTES) -> tuple[list[bytes], bytes]:
    """Cut what is longer than `limit` into parts, none through a UTF-8 character; return them and the rest."""
    parts: list[bytes] = []
    start = 0
    while len(data) - start > limit:
        end = start + limit
        for back in range(4):  # a UTF-8 character has at most three continuation bytes
            if data[end - back] & 0xC0 != 0x80:
                end -= back
                break
        parts.append(data[start:end])
        start = end
    return parts, data[start:]


def stored_bytes(kind: LineKind, data: bytes) -> int:
    """Return how many bytes the line has in the text of the log."""
    return len(as_text(kind, data))


def as_text(kind: LineKind, data: bytes) -> bytes:
    """Return the line as the text of the log shows it, newline included; a part has none."""
    if kind is LineKind.PART:
        return data
    if kind is LineKind.GAP:
        return b"[slipway] " + gap_of(data).why.encode() + b"\n"
    return data + b"\n"


def gap_of(data: bytes) -> Gap:
    """Read a gap line's data."""
    document = json.loads(data)
    return Gap(first=document["from"], last=document["to"], why=document["why"])


def gap_data(gap: Gap) -> bytes:
    """Return a gap as a gap line's data."""
    return json.dumps(gap.to_document(), ensure_ascii=False).encode()


def as_display(data: bytes, *, part: bool = False) -> str:
    """Return a line's bytes as text that is safe in an SSE data field.

    Invalid UTF-8 becomes U+FFFD. Of a line that redraws itself with carriage returns the last frame counts, as that is
    what a terminal shows in the end; the archive keeps all of them.
    """
    text = last_frame(data).decode("utf-8", "replace")
    return f"{text} [line continues]" if part else text


def last_frame(data: bytes) -> bytes:
    """Return what stands after a line's last carriage return; those at its end do not count."""
    return data.rstrip(b"\r").rpartition(b"\r")[2]


def progress_of(data: bytes) -> Mapping[str, Any] | None:
    """Read a progress line, `::progress:: {"step": 2, "of": 7, "label": "…"}`; None where it is an ordinary line.

    Whole numbers with 0 <= step <= of, `of` from 1 to 2**53 - 1 (JavaScript's largest); the label is cut to 200
    characters. Other keys are dropped.
    """
    if not data.startswith(PROGRESS_PREFIX) or len(data) > _MAX_PROGRESS_BYTES:
        return None
    try:
        document = json.loads(data[len(PROGRESS_PREFIX) :])
    except (ValueError, RecursionError):
        return None
    match document:
        case {"step": bool()} | {"of": bool()}:  # JSON's true is an int to Python
            return None
        case {"step": int(step), "of": int(of), "label": str(label)} if 0 <= step <= of and 0 < of < 2**53:
            label = clean_text(label)
            return {
                "step": step,
                "of": of,
                "label": label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…",
            }
        case _:
            return None


def receipt_of(lines: Iterable[LogLine], *, complete: bool) -> Receipt:
    """Count a whole log: what the archive counts as it writes, from the lines alone. Serves checks and repairs."""
    number = size = 0
    gaps: list[Gap] = []
    for line in lines:
        number += 1
        size += stored_bytes(line.kind, line.data)
        if line.kind is LineKind.GAP:
            gaps.append(gap_of(line.data))
    return Receipt(lines=number, bytes=size, complete=complete and not gaps, gaps=tuple(gaps))
