"""Copies of a log: what Redis and each viewer have, beside the archive, number by number."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from checkers.findings import Finding
from checkers.loghistory import ArchivedLine, LogFault, LogHistory, SseEvent

NUMBERED = frozenset({"message", "", "progress", "gap"})
"""The events that carry a number; clients let the last number stand at the others."""


def tail_faults(history: LogHistory, lines: Sequence[ArchivedLine]) -> Iterator[Finding]:
    """Compare what Redis holds: the newest lines, without a hole, equal to the archive's."""
    if history.tail is None:
        return
    numbers = [number for number, _ in history.tail]
    for before, number in itertools.pairwise(numbers):
        if number != before + 1:
            yield history.finding(LogFault.TAIL_NUMBERS, f"after {before} came {number}")
    for number, data in history.tail:
        if not 1 <= number <= len(lines):
            yield history.finding(LogFault.TAIL_DIFFERS, f"number {number}: the archive has no such line")
        elif not _same(lines[number - 1], data):
            kept = lines[number - 1].data
            yield history.finding(LogFault.TAIL_DIFFERS, f"number {number}: {data[:100]!r}, archive {kept[:100]!r}")
    last = numbers[-1] if numbers else 0
    if last < len(lines):
        yield history.finding(LogFault.TAIL_SHORT, f"ends at {last}, the log at {len(lines)}")
    if history.tail_limit is not None and len(numbers) < min(history.tail_limit, len(lines)):
        yield history.finding(LogFault.TAIL_SHORT, f"{len(numbers)} lines, LOG_BUFFER_LIMIT is {history.tail_limit}")


def stream_faults(
    history: LogHistory, lines: Sequence[ArchivedLine], viewer: int, events: Sequence[SseEvent]
) -> Iterator[Finding]:
    """Compare what one viewer saw, from line 1 to the end of the log.

    An empty message that repeats the last id is passed over: httpx-sse makes one of each comment that keeps the
    connection alive.
    """
    last = 0
    for number_text, name, data in events:
        if name not in NUMBERED or (not data and number_text in ("", str(last))):
            continue
        number = int(number_text) if number_text.isdigit() else 0
        gap = _gap(data) if name == "gap" else None
        first = gap["from"] if gap else number
        if first != last + 1:
            yield history.finding(LogFault.SSE_NUMBERS, f"viewer {viewer}: after {last} came {number_text!r}")
        if not number:
            continue
        last = number
        if number > len(lines):
            yield history.finding(LogFault.SSE_DIFFERS, f"viewer {viewer}: the archive has no line {number}")
            continue
        kept = lines[number - 1]
        shown = gap["why"] == kept.gap and first == number if gap else kept.gap is None and data == kept.display
        if not shown:
            detail = f"viewer {viewer}, number {number}: {name} {data[:100]!r}, archive {kept.data[:100]!r}"
            yield history.finding(LogFault.SSE_DIFFERS, detail)
    if last < len(lines):
        yield history.finding(LogFault.SSE_SHORT, f"viewer {viewer} ends at {last}, the log at {len(lines)}")


def _same(line: ArchivedLine, data: bytes) -> bool:
    if line.gap is None:
        return data == line.data
    gap = _gap(data.decode("utf-8", "replace"))
    return gap is not None and gap["why"] == line.gap and gap["from"] <= line.number <= gap["to"]


def _gap(data: str) -> dict[str, Any] | None:
    """Read a gap's JSON; None where it is none."""
    try:
        document = json.loads(data)
    except ValueError:
        return None
    match document:
        case {"from": int(), "to": int(), "why": str()}:
            return dict(document)
        case _:
            return None
