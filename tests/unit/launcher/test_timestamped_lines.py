"""Reading timestamped lines resumes exactly where it was interrupted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.domain.log_lines import LineKind, TimestampedPiece
from launcher.domain.timestamped_lines import (
    NotTimestamped,
    ResumeFilter,
    ResumePoint,
    TimestampedSplitter,
    resume_point_of,
    since_of,
)
from launcher.stores.archive import Archive

LIMIT = 8
Line = tuple[str, bytes]

stamps = st.builds(lambda s, n: f"2026-11-24T08:00:{s:02d}.{n:09d}Z", st.integers(0, 3), st.integers(0, 2))
sources = st.lists(st.tuples(stamps, st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"."))), max_size=12)


def answer(source: list[Line], since: str | None) -> bytes:
    """What the kubelet returns: every line of the file with a stamp in that second or later."""
    selected = [line for line in source if since is None or line[0][:19] >= since[:19]]
    return b"".join(stamp.encode() + b" " + data + b"\n" for stamp, data in selected)


def state_of(pieces: list[TimestampedPiece]) -> ResumePoint:
    return resume_point_of(pieces[-1].timestamp if pieces else None, pieces)


def joined(pieces: list[TimestampedPiece]) -> list[Line]:
    lines: list[Line] = []
    data = b""
    for piece in pieces:
        data += piece.data
        if piece.kind is LineKind.LINE:
            lines.append((piece.timestamp, data))
            data = b""
    return lines


@settings(max_examples=400)
@given(sources, st.lists(st.tuples(st.integers(0, 700), st.integers(1, 40)), max_size=5))
def test_each_line_is_read_once_whatever_the_timestamps_and_the_interruptions(
    source: list[Line], cuts: list[tuple[int, int]]
) -> None:
    pieces: list[TimestampedPiece] = []
    for size, step in [*cuts, (1 << 20, 1 << 20)]:
        state = state_of(pieces)
        body = answer(source, state.since)[:size]
        splitter, resume_filter = TimestampedSplitter(LIMIT), ResumeFilter(state)
        for at in range(0, len(body), step):
            pieces += resume_filter.rest_of(splitter.feed(body[at : at + step]))
        assert not resume_filter.missed
    assert joined(pieces) == source
    assert all(len(piece.data) <= LIMIT for piece in pieces)


@given(sources.filter(bool), st.data())
def test_only_unread_lines_that_were_rotated_away_are_missed(source: list[Line], data: st.DataObject) -> None:
    ordered = [(f"2026-11-24T08:00:00.{n:09d}Z", line) for n, (_, line) in enumerate(source)]
    read = data.draw(st.integers(1, len(ordered)))
    first_left = data.draw(st.integers(0, len(ordered) - 1))
    splitter = TimestampedSplitter(LIMIT)
    pieces = splitter.feed(answer(ordered[:read], None))
    resume_filter = ResumeFilter(state_of(pieces))
    more = resume_filter.rest_of(TimestampedSplitter(LIMIT).feed(answer(ordered[first_left:], "2026-11-24T07:59:55Z")))
    assert resume_filter.missed == (first_left >= read)
    assert joined([*pieces, *more]) == ordered[:read] + ordered[max(first_left, read) :]


def test_the_archive_returns_the_point_to_resume_from(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    writer = archive.writer("a")
    assert writer.resume_point() == ResumePoint()
    writer.append(
        [
            TimestampedPiece("2026-11-24T08:00:00.1Z", LineKind.SYSTEM, b"Starting"),
            TimestampedPiece("2026-11-24T08:00:00.2Z", LineKind.LINE, b"one"),
            TimestampedPiece("2026-11-24T08:00:06.2Z", LineKind.LINE, b"two"),
            TimestampedPiece("2026-11-24T08:00:06.3Z", LineKind.PART, b"three"),
            TimestampedPiece("2026-11-24T08:00:06.3Z", LineKind.PART, b"more"),
        ]
    )
    expected = ResumePoint(
        since="2026-11-24T08:00:01Z", stamps=["2026-11-24T08:00:06.2Z"], part=9, part_stamp="2026-11-24T08:00:06.3Z"
    )
    assert writer.resume_point() == expected
    writer.close()
    reopened = archive.writer("a")
    assert reopened.resume_point() == expected
    reopened.close()


def test_a_last_line_without_a_newline_is_returned_at_the_end() -> None:
    splitter = TimestampedSplitter()
    first, second = "2026-11-24T08:00:00.1Z", "2026-11-24T08:00:00.2Z"
    answer = f"{first} whole\n{second} half".encode()
    assert splitter.feed(answer) == [TimestampedPiece(first, LineKind.LINE, b"whole")]
    assert splitter.flush() == [TimestampedPiece(second, LineKind.LINE, b"half")]
    assert splitter.flush() == []


@pytest.mark.parametrize(
    "error",
    [
        b"failed to create fsnotify watcher: too many open files",
        b"unable to retrieve container logs for containerd://1f2e",
        b'failed to try resolving symlinks in path "/var/log/pods/0.log": no such file or directory',
        b"",
        b"2026-11-24",
        b"2026-11-24 08:00:00 a line",
    ],
)
def test_a_node_error_is_never_stored_as_a_line(error: bytes) -> None:
    with pytest.raises(NotTimestamped, match=f"^{re.escape(error.decode())}$"):
        TimestampedSplitter().feed(error + b"\n")
    splitter = TimestampedSplitter()
    before = TimestampedPiece("2026-11-24T08:00:00.1Z", LineKind.LINE, b"a line")
    assert splitter.feed(b"2026-11-24T08:00:00.1Z a line\n" + error) == [before]
    if error:
        with pytest.raises(NotTimestamped):
            splitter.flush()


def test_a_line_without_a_timestamp_is_detected_before_it_ends() -> None:
    with pytest.raises(NotTimestamped):
        TimestampedSplitter(LIMIT).feed(b"x" * 100)


def test_the_rest_of_a_long_line_needs_no_timestamp() -> None:
    splitter = TimestampedSplitter(LIMIT)
    stamp = "2026-11-24T08:00:00.1Z"
    pieces = splitter.feed(stamp.encode() + b" " + b"x" * 100)
    pieces += splitter.feed(b"no stamp\n")
    assert {piece.timestamp for piece in pieces} == {stamp}
    assert joined(pieces) == [(stamp, b"x" * 100 + b"no stamp")]


@pytest.mark.parametrize(
    ("stamp", "since"),
    [
        ("2026-11-24T08:00:01.123456789Z", "2026-11-24T07:59:56Z"),
        ("2026-11-24T08:00:01.123456789+02:00", "2026-11-24T07:59:56+02:00"),
        ("2026-11-24T08:00:01Z", "2026-11-24T07:59:56Z"),
        ("2026-99-24T08:00:01Z", "1970-01-01T00:00:00Z"),  # damaged
    ],
)
def test_reading_resumes_from_a_whole_second_in_the_same_time_zone(stamp: str, since: str) -> None:
    assert since_of(stamp) == since
