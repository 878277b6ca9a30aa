"""Copies of a log: compares what Redis and each viewer have with the archive, line by line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from checkers.findings import Finding
from checkers.log_history import ArchivedLine, LogFault, LogHistory, SseEvent

NUMBERED = frozenset({"message", "", "progress", "gap"})
"""The events with a number; clients keep the last number for the others."""


def tail_faults(history: LogHistory, lines: Sequence[ArchivedLine]) -> Iterator[Finding]:
    """Compare Redis with the archive: it must hold the newest lines, contiguous and equal."""
    if history.tail is None:
        return
    numbers = [number for number, _ in history.tail]
    for before, number in itertools.pairwise(numbers):
        if number != before + 1:
            yield history.finding(LogFault.TAIL_NUMBERS, f"{number} follows {before}")
    for number, data in history.tail:
        if not 1 <= number <= len(lines):
            yield history.finding(LogFault.TAIL_DIFFERS, f"number {number}: the archive has no such line")
        elif not _same(lines[number - 1], data):
            archived = lines[number - 1].data
            yield history.finding(LogFault.TAIL_DIFFERS, f"number {number}: {data[:100]!r}, archive {archived[:100]!r}")
    last = numbers[-1] if numbers else 0
    if last < len(lines):
        yield history.finding(LogFault.TAIL_SHORT, f"ends at {last}, the log ends at {len(lines)}")
    if history.tail_limit is not None and len(numbers) < min(history.tail_limit, len(lines)):
        yield history.finding(LogFault.TAIL_SHORT, f"{len(numbers)} lines, LOG_BUFFER_LIMIT is {history.tail_limit}")


def stream_faults(
    history: LogHistory, lines: Sequence[ArchivedLine], viewer: int, events: Sequence[SseEvent]
) -> Iterator[Finding]:
    """Compare what one viewer received with the archive, from line 1 to the end of the log.

    An empty message that repeats the last id is skipped: httpx-sse emits one for each keep-alive comment.
    """
    last = 0
    for number_text, name, data in events:
        if name not in NUMBERED or (not data and number_text in ("", str(last))):
            continue
        number = int(number_text) if number_text.isdigit() else 0
        gap = _gap(data) if name == "gap" else None
        first = gap["from"] if gap else number
        if first != last + 1:
            yield history.finding(LogFault.SSE_NUMBERS, f"viewer {viewer}: {number_text!r} follows {last}")
        if not number:
            continue
        last = number
        if number > len(lines):
            yield history.finding(LogFault.SSE_DIFFERS, f"viewer {viewer}: the archive has no line {number}")
            continue
        archived = lines[number - 1]
        same = gap["why"] == archived.gap and first == number if gap else _shows(archived, data)
        if not same:
            detail = f"viewer {viewer}, number {number}: {name} {data[:100]!r}, archive {archived.data[:100]!r}"
            yield history.finding(LogFault.SSE_DIFFERS, detail)
    if last < len(lines):
        yield history.finding(LogFault.SSE_SHORT, f"viewer {viewer} ends at {last}, the log ends at {len(lines)}")


def _shows(line: ArchivedLine, data: str) -> bool:
    return line.gap is None and data == line.display


def _same(line: ArchivedLine, data: bytes) -> bool:
    if line.gap is None:
        return data == line.data
    gap = _gap(data.decode("utf-8", "replace"))
    return gap is not None and gap["why"] == line.gap and gap["from"] <= line.number <= gap["to"]


def _gap(data: str) -> dict[str, Any] | None:
    """Parse a gap's JSON; None if it is not one."""
    try:
        document = json.loads(data)
    except ValueError:
        return None
    match document:
        case {"from": int(), "to": int(), "why": str()}:
            return dict(document)
        case _:
            return None
