"""Log lines: splitting, display, progress, receipts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain.log_lines import (
    Gap,
    LineKind,
    LineSplitter,
    LogLine,
    as_display,
    as_text,
    gap_data,
    progress_of,
    receipt_of,
)

LIMIT = 16
byte_chunks = st.lists(
    st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.just(b"\n")), max_size=12
)


def split(chunks: list[bytes]) -> list[tuple[LineKind, bytes]]:
    splitter = LineSplitter(LIMIT)
    return [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.flush()


@given(byte_chunks)
def test_the_lines_do_not_depend_on_how_the_bytes_arrive(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert split(chunks) == split([whole]) == split([whole[n : n + 1] for n in range(len(whole))])


@given(byte_chunks)
def test_joined_lines_are_the_original_bytes(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    pieces = split(chunks)
    expected = whole if whole.endswith(b"\n") or not whole else whole + b"\n"
    assert b"".join(as_text(kind, data) for kind, data in pieces) == expected
    assert all(len(data) <= LIMIT for _, data in pieces)


@given(st.text(min_size=10, max_size=100))
def test_no_character_is_split(text: str) -> None:
    for _, data in split([text.encode()]):
        data.decode()


@given(st.binary(max_size=60))
def test_a_displayed_line_cannot_break_its_event(data: bytes) -> None:
    shown = as_display(data.replace(b"\n", b""))
    assert not set(shown) & {"\r", "\n"}


def test_a_line_is_displayed_as_a_terminal_would() -> None:
    assert as_display(b"caf\xc3\xa9 \xff\r") == "café �"
    assert as_display(b"10%\r20%") == as_display(b"10%\r20%\r\r") == "20%"
    assert as_display(b"\r") == as_display(b"") == ""
    assert as_display(b"part", part=True) == "part [line continues]"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"step": 2, "of": 7, "label": "Reading"}', True),
        ('{"step": 0, "of": 1, "label": ""}', True),
        ('{"step": 8, "of": 7, "label": "x"}', False),
        ('{"step": -1, "of": 7, "label": "x"}', False),
        ('{"step": 0, "of": 0, "label": "x"}', False),
        ('{"step": "2", "of": 7, "label": "x"}', False),
        ('{"step": true, "of": true, "label": "x"}', False),
        ('{"step": 2, "of": 7}', False),
        ('{"step": NaN, "of": 7, "label": "x"}', False),
        ("[1]", False),
        ("{", False),
        ("", False),
        ("[" * 4000, False),
        ('{"step": 2, "of": 7, "label": "' + "x" * 5000 + '"}', False),
    ],
)
def test_only_a_well_formed_progress_line_is_recognized(text: str, valid: bool) -> None:
    line = b"::progress:: " + text.encode()
    assert progress_of(line) == (json.loads(text) if valid else None)
    assert progress_of(b" " + line) is None


def test_a_receipt_counts_the_lines_and_bytes_of_the_text() -> None:
    gap = Gap(first=4, last=4, why="Gone.")
    kinds = [
        (LineKind.SYSTEM, b"Starting"),
        (LineKind.PART, b"ab"),
        (LineKind.LINE, b"c"),
        (LineKind.GAP, gap_data(gap)),
    ]
    lines = [LogLine(number, "t", kind, data) for number, (kind, data) in enumerate(kinds, 1)]
    receipt = receipt_of(lines, complete=True)
    text = b"".join(as_text(kind, data) for kind, data in kinds)
    assert text == b"Starting\nabc\n[slipway] Gone.\n"
    assert (receipt.lines, receipt.bytes, receipt.complete, receipt.gaps) == (4, len(text), False, (gap,))
    assert receipt_of(lines[:3], complete=True).complete
    assert not receipt_of(lines[:3], complete=False).complete
