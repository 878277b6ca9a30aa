"""Log lines: how bytes are split into numbered lines, how a line is displayed, and the receipt of a log.

A *line* is the text between two newlines, up to `MAX_LINE_BYTES`. A longer line is stored in parts. Each part has its
own number, and all except the last are marked as continuing. So memory is bounded, lines are numbered as they arrive,
and joining the parts restores the bytes. The lines that Slipway adds (the first line, the marker of a gap) are numbered
too, because each number is one event for a viewer.
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
    """The kind of a line. Its value is the letter that the archive stores."""

    LINE = "L"
    PART = "P"
    """Part of a long line that continues in the next one."""
    SYSTEM = "S"
    """Written by Slipway, not by the pipeline."""
    GAP = "G"
    """Marks missing lines. Its data is the JSON of a `Gap`."""


class LogLine(NamedTuple):
    """One line of a log: its number from 1, time (RFC 3339, nanoseconds), kind, and bytes without newline."""

    number: int
    timestamp: str
    kind: LineKind
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Missing lines: the numbers `first` to `last`, and a sentence that says why."""

    first: int
    last: int
    why: str

    def to_document(self) -> dict[str, Any]:
        """Return `{from, to, why}`, as in the stream and the receipt."""
        return {"from": self.first, "to": self.last, "why": self.why}


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A summary of a run's log.

    It has the number of `lines`, the number of `bytes` that `GET /jobs/{run_id}/log` returns, and the `gaps`. A log is
    `complete` if it is closed and nothing is missing.
    """

    lines: int = 0
    bytes: int = 0
    complete: bool = False
    gaps: tuple[Gap, ...] = ()


def unwritten_receipt() -> Receipt:
    """Return the receipt of a log that could not be opened or closed."""
    return Receipt(gaps=(Gap(first=1, last=1, why="The log could not be written to the archive."),))


class TimestampedPiece(NamedTuple):
    """A line without a number: its source's timestamp, its kind, and its bytes without newline."""

    timestamp: str
    kind: LineKind
    data: bytes


class LineSplitter:
    """Splits a stream of bytes into lines and parts. Buffers less than `limit` bytes."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, chunk: bytes) -> list[tuple[LineKind, bytes]]:
        """Add bytes and return the lines and parts that they complete."""
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
        """The incomplete last line."""
        return self._rest

    def flush(self) -> list[tuple[LineKind, bytes]]:
        """Return the last line if it has no newline."""
        rest, self._rest = self._rest, b""
        return [(LineKind.LINE, rest)] if rest else []


def cut(data: bytes, limit: int = MAX_LINE_BYTES) -> tuple[list[bytes], bytes]:
    """Cut bytes into parts of up to `limit`, never inside a UTF-8 character; return the parts and the rest."""
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
    """Return the size of the line in the log's text."""
    return len(as_text(kind, data)) if kind is LineKind.GAP else len(data) + (kind is not LineKind.PART)


def as_text(kind: LineKind, data: bytes) -> bytes:
    """Return the line as the log's text has it: with a newline, except after a part."""
    if kind is LineKind.PART:
        return data
    if kind is LineKind.GAP:
        return b"[slipway] " + gap_of(data).why.encode() + b"\n"
    return data + b"\n"


def gap_of(data: bytes) -> Gap:
    """Parse the data of a gap line. Raises `ValueError`."""
    match json.loads(data):
        case {"from": int(first), "to": int(last), "why": str(why)}:
            return Gap(first=first, last=last, why=why)
        case _:
            raise ValueError("not a gap")


def gap_data(gap: Gap) -> bytes:
    """Return the data of a gap line."""
    return json.dumps(gap.to_document(), ensure_ascii=False).encode()


def as_display(data: bytes, *, part: bool = False) -> str:
    """Return a line's bytes as text that is safe in an SSE data field.

    Invalid UTF-8 becomes U+FFFD. Of a line that redraws itself with carriage returns, only the last frame is displayed,
    as in a terminal. The archive has every frame.
    """
    text = last_frame(data).decode("utf-8", "replace")
    return f"{text} [line continues]" if part else text


def last_frame(data: bytes) -> bytes:
    """Return the bytes after a line's last carriage return, ignoring carriage returns at its end."""
    return data.rstrip(b"\r").rpartition(b"\r")[2]


def progress_of(data: bytes) -> Mapping[str, Any] | None:
    """Parse a progress line, `::progress:: {"step": 2, "of": 7, "label": "…"}`. Returns None for any other line.

    `step` and `of` are integers with 0 <= step <= of and 1 <= of < 2**53 (JavaScript's limit). The label is truncated
    to 200 characters, and other keys are dropped.
    """
    if not data.startswith(PROGRESS_PREFIX) or len(data) > _MAX_PROGRESS_BYTES:
        return None
    try:
        document = json.loads(data[len(PROGRESS_PREFIX) :])
    except (ValueError, RecursionError):
        return None
    match document:
        case {"step": bool()} | {"of": bool()}:  # JSON's `true` is an int in Python
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
    """Count the receipt of a whole log from its lines."""
    number = size = 0
    gaps: list[Gap] = []
    for line in lines:
        number += 1
        size += stored_bytes(line.kind, line.data)
        if line.kind is LineKind.GAP:
            gaps.append(gap_of(line.data))
    return Receipt(lines=number, bytes=size, complete=complete and not gaps, gaps=tuple(gaps))
