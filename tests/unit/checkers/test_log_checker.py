"""The log checker finds every single fault, and nothing in a correct history."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.findings import report
from checkers.log_history import GAP_PREFIX, PART_BYTES, LogFault, LogHistory, SseEvent
from checkers.logs import check
from checkers.printer import end_line, line

RUN = "4711-01kav3mq8w3n0d3k2h7f6s9x1c"
FIRST = b"Starting pipeline default for job 4711"
COUNT = 12
WHY = "The node no longer had these lines."
MARKER = GAP_PREFIX + WHY.encode()
LINES = [FIRST, *(line(RUN, seq) for seq in range(1, COUNT + 1)), end_line(RUN, COUNT)]
TAIL_LIMIT = 5


def history(lines: list[bytes], **options: Any) -> LogHistory:
    """Return a history in which archive, Redis and viewers have the same lines, correct or not."""
    numbered = list(enumerate(lines, 1))
    gaps = [{"from": number, "to": number, "why": WHY} for number, data in numbered if data == MARKER]
    text = b"".join(data + b"\n" for data in lines)
    shown = [json.dumps(gaps[0]).encode() if data == MARKER else data for data in lines]
    whole = len(gaps) == 0 and all(data in lines for data in LINES[1:] if options.get("expected", COUNT))
    defaults: dict[str, Any] = {
        "run_id": RUN,
        "text": text,
        "receipt": {"lines": len(lines), "bytes": len(text), "complete": whole, "gaps": gaps},
        "expected": COUNT,
        "tail": list(enumerate(shown, 1))[-TAIL_LIMIT:],
        "tail_limit": TAIL_LIMIT,
        "streams": [viewed(lines)],
    }
    return LogHistory(**{**defaults, **options})


def viewed(lines: list[bytes]) -> list[SseEvent]:
    """Return the events of a viewer who reconnects after the third line."""
    events: list[SseEvent] = [("", "status", '{"status": "running"}')]
    for number, data in enumerate(lines, 1):
        gap = json.dumps({"from": number, "to": number, "why": WHY})
        events.append(
            (str(number), "gap", gap) if data == MARKER else (str(number), "message", data.decode("utf-8", "replace"))
        )
        if number == 3:
            events += [("3", "message", ""), ("", "status", '{"status": "running"}')]
    last = events[-1][0]
    return [*events, (last, "message", ""), (last, "status", "{}"), (last, "end", "{}")]


def kinds(checked: LogHistory) -> set[str]:
    return {str(finding.kind) for finding in check(checked)}


def with_receipt(**changes: Any) -> LogHistory:
    correct = history(LINES)
    return dataclasses.replace(correct, receipt={**correct.receipt, **changes})


def with_stream(change: Callable[[list[SseEvent]], list[SseEvent]]) -> LogHistory:
    return history(LINES, streams=[viewed(LINES), change(viewed(LINES))])


def with_tail(change: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]], **options: Any) -> LogHistory:
    return history(LINES, tail=change(list(enumerate(LINES, 1))[-TAIL_LIMIT:]), **options)


def altered(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def without(*indexes: int) -> list[bytes]:
    return [data for index, data in enumerate(LINES) if index not in indexes]


def alternating(lines: list[bytes]) -> list[bytes]:
    """Return all lines of stdout, then those of stderr, the even ones."""
    return [FIRST, *lines[1:13:2], lines[13], *lines[2:13:2]]


CORRECT = {
    "a whole log": history(LINES),
    "a log without Redis and viewers": history(LINES, tail=None, streams=[]),
    "a log that is completely in Redis": history(LINES, tail=list(enumerate(LINES, 1)), tail_limit=500),
    "a log without lines of the pipeline": history([FIRST, end_line(RUN, 0)], expected=0),
    "a stopped printer": history(LINES[:6], expected=None),
    "a stopped printer with a torn last line": history([*LINES[:6], LINES[6][:40]], expected=None),
    "a printer stopped after its end line": history(LINES, expected=None),
    "alternating streams": history(alternating(LINES), alternating=True),
    "alternating streams, in order": history(LINES, alternating=True),
    "alternating streams, stopped": history([FIRST, *LINES[1:6:2], LINES[2]], alternating=True, expected=None),
    "a gap": history([*LINES[:4], MARKER, *LINES[6:]], gaps_allowed=True),
    "a gap at the start": history([FIRST, MARKER, *LINES[4:]], gaps_allowed=True),
    "a gap to the end": history([*LINES[:4], MARKER], gaps_allowed=True),
    "a gap in one of two streams": history([*LINES[:3], MARKER, *LINES[4:]], gaps_allowed=True, alternating=True),
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_log_has_no_findings(name: str) -> None:
    assert not check(CORRECT[name]), report(check(CORRECT[name]))


def test_each_part_of_a_long_line_has_its_own_number() -> None:
    long = line(RUN, 1, 2 * PART_BYTES + 10)
    parts = [long[:PART_BYTES], long[PART_BYTES : 2 * PART_BYTES], long[2 * PART_BYTES :]]
    numbered = [FIRST, *parts, end_line(RUN, 1)]
    shown = [data.decode() + " [line continues]" * (number in (2, 3)) for number, data in enumerate(numbered, 1)]
    text = FIRST + b"\n" + long + b"\n" + end_line(RUN, 1) + b"\n"
    checked = LogHistory(
        run_id=RUN,
        text=text,
        receipt={"lines": 5, "bytes": len(text), "complete": True, "gaps": []},
        expected=1,
        width=2 * PART_BYTES + 10,
        tail=list(enumerate(numbered, 1)),
        streams=[[(str(number), "message", data) for number, data in enumerate(shown, 1)]],
    )
    assert not check(checked), report(check(checked))


FAULTY = {
    "a line is lost": (LogFault.LOST, history(without(5))),
    "many lines are lost": (LogFault.LOST, history(without(5, 6, 7, 9))),
    "the first line of the printer is lost": (LogFault.LOST, history(without(1))),
    "the end line is lost": (LogFault.LOST, history(without(13))),
    "the log stops early": (LogFault.LOST, history(LINES[:5])),
    "a line is lost from a stopped printer": (LogFault.LOST, history(without(5, 12, 13), expected=None)),
    "a line is lost from one of two streams": (LogFault.LOST, history(without(6), alternating=True)),
    "a line is duplicated": (LogFault.DUPLICATED, history([*LINES[:5], *LINES[4:]])),
    "a line is duplicated later": (LogFault.DUPLICATED, history([*LINES[:9], LINES[3], *LINES[9:]])),
    "the end line is duplicated": (LogFault.DUPLICATED, history([*LINES, LINES[-1]])),
    "many lines are duplicated": (LogFault.DUPLICATED, history([*LINES[:9], *LINES[5:]])),
    "two lines are swapped": (LogFault.OUT_OF_ORDER, history([*LINES[:4], LINES[5], LINES[4], *LINES[6:]])),
    "the end line is not last": (LogFault.OUT_OF_ORDER, history([*LINES[:12], LINES[13], LINES[12]])),
    "a line of one stream is late": (
        LogFault.OUT_OF_ORDER,
        history([FIRST, LINES[3], LINES[1], LINES[2], *LINES[4:]], alternating=True),
    ),
    "padding is altered": (LogFault.ALTERED, history([*LINES[:4], altered(LINES[4]), *LINES[5:]])),
    "a hash is altered": (LogFault.ALTERED, history([*LINES[:4], altered(LINES[4], len(RUN) + 5), *LINES[5:]])),
    "a line is cut": (LogFault.ALTERED, history([*LINES[:4], LINES[4][:50], *LINES[5:]])),
    "a line is torn in the middle": (LogFault.ALTERED, history([*LINES[:4], LINES[4][:50]], expected=COUNT)),
    "a foreign line is in between": (LogFault.ALTERED, history([*LINES[:4], b"hello", *LINES[4:]])),
    "a line comes from another run": (
        LogFault.ALTERED,
        history([*LINES[:4], line("4712-01kav3mq8w3n0d3k2h7f6s9x1d", 4), *LINES[4:]]),
    ),
    "there is a line too many": (LogFault.ALTERED, history([*LINES[:13], line(RUN, 13), LINES[13]])),
    "the end line has the wrong count": (LogFault.ALTERED, history([*LINES[:13], end_line(RUN, COUNT + 1)])),
    "the first line is missing": (LogFault.NO_FIRST_LINE, history(LINES[1:])),
    "the log is empty": (LogFault.NO_FIRST_LINE, history([])),
    "the first line is not first": (LogFault.NO_FIRST_LINE, history([LINES[1], FIRST, *LINES[2:]])),
    "there is a gap where none is allowed": (LogFault.GAP, history([*LINES[:4], MARKER, *LINES[6:]])),
    "there is a gap where nothing is missing": (
        LogFault.UNNEEDED_GAP,
        history([*LINES[:4], MARKER, *LINES[4:]], gaps_allowed=True),
    ),
    "the gap is not where the lines are missing": (
        LogFault.LOST,
        history([*LINES[:4], MARKER, *without(8)[4:]], gaps_allowed=True),
    ),
    "a line is duplicated next to a gap": (
        LogFault.DUPLICATED,
        history([*LINES[:4], MARKER, LINES[3], *LINES[6:]], gaps_allowed=True),
    ),
    "lines are swapped next to a gap": (
        LogFault.OUT_OF_ORDER,
        history([*LINES[:4], MARKER, LINES[7], LINES[6], *LINES[8:]], gaps_allowed=True),
    ),
    "the receipt has a line too many": (LogFault.RECEIPT_LINES, with_receipt(lines=len(LINES) + 1)),
    "the receipt has a byte too few": (LogFault.RECEIPT_BYTES, with_receipt(bytes=with_receipt().receipt["bytes"] - 1)),
    "the receipt is incomplete without reason": (LogFault.RECEIPT_INCOMPLETE, with_receipt(complete=False)),
    "the receipt is complete although a line is missing": (
        LogFault.RECEIPT_COMPLETE,
        dataclasses.replace(history(without(5)), receipt={**history(without(5)).receipt, "complete": True}),
    ),
    "the receipt is complete although there is a gap": (
        LogFault.RECEIPT_COMPLETE,
        history(
            [FIRST, MARKER, *LINES[4:]],
            gaps_allowed=True,
            receipt={**history([FIRST, MARKER, *LINES[4:]]).receipt, "complete": True},
        ),
    ),
    "the receipt has a gap too many": (
        LogFault.RECEIPT_GAPS,
        with_receipt(gaps=[{"from": 4, "to": 4, "why": WHY}]),
    ),
    "the receipt lacks a gap": (
        LogFault.RECEIPT_GAPS,
        history(
            [FIRST, MARKER, *LINES[4:]],
            gaps_allowed=True,
            receipt={**history([FIRST, MARKER, *LINES[4:]]).receipt, "gaps": []},
        ),
    ),
    "a viewer misses a line": (LogFault.SSE_NUMBERS, with_stream(lambda events: events[:6] + events[7:])),
    "a viewer misses the first line": (LogFault.SSE_NUMBERS, with_stream(lambda events: events[2:])),
    "a viewer receives a line twice": (LogFault.SSE_NUMBERS, with_stream(lambda events: events[:7] + events[6:])),
    "a viewer receives a line without a number": (
        LogFault.SSE_NUMBERS,
        with_stream(lambda events: [*events[:8], ("", "message", "x"), *events[8:]]),
    ),
    "a viewer receives different text": (
        LogFault.SSE_DIFFERS,
        with_stream(lambda events: [*events[:8], (events[8][0], "message", events[8][2][:-1]), *events[9:]]),
    ),
    "a viewer receives a line twice under two numbers": (
        LogFault.SSE_DIFFERS,
        with_stream(lambda events: [*events[:8], (events[8][0], "message", events[7][2]), *events[9:]]),
    ),
    "a viewer receives a gap instead of a line": (
        LogFault.SSE_DIFFERS,
        with_stream(
            lambda events: [
                *events[:8],
                (events[8][0], "gap", json.dumps({"from": 6, "to": 6, "why": WHY})),
                *events[9:],
            ]
        ),
    ),
    "a viewer receives more than the log has": (
        LogFault.SSE_DIFFERS,
        with_stream(lambda events: [*events[:-3], (str(len(LINES) + 1), "message", "x")]),
    ),
    "a viewer's stream ends early": (LogFault.SSE_SHORT, with_stream(lambda events: events[:9])),
    "a viewer receives nothing": (LogFault.SSE_SHORT, with_stream(lambda events: [])),
    "Redis has a hole": (LogFault.TAIL_NUMBERS, with_tail(lambda tail: [tail[0], *tail[2:]], tail_limit=None)),
    "Redis has different text": (
        LogFault.TAIL_DIFFERS,
        with_tail(lambda tail: [*tail[:2], (tail[2][0], altered(tail[2][1])), *tail[3:]]),
    ),
    "Redis has more than the log": (
        LogFault.TAIL_DIFFERS,
        with_tail(lambda tail: [*tail, (len(LINES) + 1, b"x")]),
    ),
    "Redis lacks the end line": (LogFault.TAIL_SHORT, with_tail(lambda tail: tail[:-1], tail_limit=None)),
    "Redis keeps too little": (LogFault.TAIL_SHORT, with_tail(lambda tail: tail[1:])),
    "Redis has lost everything": (LogFault.TAIL_SHORT, with_tail(lambda tail: [])),
}
CASCADES = {  # faults that follow from another one: an altered line is also missing, for example
    LogFault.ALTERED: {LogFault.LOST},
    LogFault.NO_FIRST_LINE: {LogFault.ALTERED, LogFault.LOST},
    LogFault.GAP: {LogFault.LOST},
    LogFault.LOST: {LogFault.UNNEEDED_GAP, LogFault.RECEIPT_COMPLETE},
    LogFault.RECEIPT_COMPLETE: {LogFault.LOST},
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_single_fault_is_found_and_nothing_else(name: str) -> None:
    fault, checked = FAULTY[name]
    found = kinds(checked)
    assert fault in found, report(check(checked))
    assert found - {fault} <= CASCADES.get(fault, set()), report(check(checked))


def test_every_kind_of_fault_is_covered() -> None:
    assert {fault for fault, _ in FAULTY.values()} == set(LogFault)


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """Return the log with one mutation after its first line."""
    lines = list(LINES)
    index = draw(st.integers(1, len(lines) - 1))
    match draw(st.sampled_from(["lose", "double", "swap", "flip", "cut", "join", "insert"])):
        case "lose":
            del lines[index]
        case "double":
            lines.insert(draw(st.integers(1, len(lines))), lines[index])
        case "swap":
            other = draw(st.integers(1, len(lines) - 1).filter(lambda other: other != index))
            lines[index], lines[other] = lines[other], lines[index]
        case "flip":
            changed = bytearray(lines[index])
            changed[draw(st.integers(0, len(changed) - 1))] ^= draw(st.integers(1, 127))
            lines[index : index + 1] = bytes(changed).split(b"\n")
        case "cut":
            lines[index] = lines[index][: draw(st.integers(0, len(lines[index]) - 1))]
        case "join":
            index = min(index, len(lines) - 2)
            lines[index : index + 2] = [lines[index] + lines[index + 1]]
        case "insert":
            lines.insert(index, draw(st.binary(max_size=40)).replace(b"\n", b""))
    return lines


@given(mutated())
def test_any_mutation_of_the_log_is_found(lines: list[bytes]) -> None:
    text = b"".join(data + b"\n" for data in lines)
    receipt = {"lines": len(lines), "bytes": len(text), "complete": True, "gaps": []}
    found = {finding.kind for finding in check(history(lines, text=text, receipt=receipt, streams=[], tail=None))}
    assert found & {LogFault.LOST, LogFault.DUPLICATED, LogFault.OUT_OF_ORDER, LogFault.ALTERED, LogFault.GAP}


@given(st.data())
def test_any_byte_that_differs_for_a_viewer_or_in_redis_is_found(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, len(LINES)))
    text = LINES[number - 1]
    other = altered(text, data.draw(st.integers(0, len(text) - 1)))
    changed = [other if n == number else original for n, original in enumerate(LINES, 1)]
    assert kinds(history(LINES, streams=[viewed(changed)])) == {LogFault.SSE_DIFFERS}
    assert kinds(history(LINES, tail=list(enumerate(changed, 1)))) == {LogFault.TAIL_DIFFERS}


def test_many_lost_lines_in_a_row_are_one_finding() -> None:
    count = 50_000
    lines = [FIRST, *(line(RUN, seq) for seq in (*range(1, 10), *range(40_000, count + 1))), end_line(RUN, count)]
    (lost,) = [
        finding
        for finding in check(history(lines, expected=count, tail=None, streams=[]))
        if finding.kind is LogFault.LOST
    ]
    assert lost.detail == "10 to 39999"
