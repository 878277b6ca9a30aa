"""A log file stays exact after crashes, damage and full disks, and keeps to its limits."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from launcher.domain.log_lines import LineKind, LogLine, TimestampedPiece, as_text, gap_of, receipt_of
from launcher.stores.archive import Archive
from launcher.stores.log_file import FULL, UNREADABLE, lines_lost
from launching.log_lines import pieces, write_log


def test_a_half_written_record_is_cut_off_wherever_it_ends(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    write_log(archive, 3)
    whole = (tmp_path / "a" / "log").read_bytes()
    for size in range(len(whole) + 1):
        (tmp_path / "a" / "log").write_bytes(whole[:size])
        fresh = Archive(tmp_path)
        before = whole[:size].count(b"\n")
        assert [line.number for line in fresh.read("a", 0)] == list(range(1, before + 1))
        writer = fresh.writer("a")
        assert writer.last_number == before
        writer.append(pieces(before + 1, 4))
        assert [line.data for line in fresh.read("a", 0)] == [data for _, _, data in pieces(1, 4)]
        assert writer.receipt(closed=True) == receipt_of(fresh.read("a", 0), complete=True)
        writer.close()


WRITER = """
import sys
from pathlib import Path
from launcher.domain.log_lines import LineKind, TimestampedPiece
from launcher.stores.archive import Archive
writer = Archive(Path(sys.argv[1]), 1 << 40).writer("a")  # no limit, however late it is killed
n = writer.last_number
print(n, flush=True)
while True:
    lines = [b"%d " % (n + i) + b"x" * 5000 for i in range(1, 40)]
    writer.append([TimestampedPiece("2026-11-24T08:00:00Z", LineKind.LINE, line) for line in lines])
    n += 39
"""


def test_a_writer_killed_while_writing_leaves_whole_lines_in_order(tmp_path: Path) -> None:
    last = 0
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while Archive(tmp_path).last_number("a") < last + 100:
                assert process.poll() is None
            process.kill()
        lines = Archive(tmp_path).read("a", 0, 10_000_000)
        assert [int(line.data.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
        last = len(lines)


DAMAGE = [
    pytest.param(b"\0" * 60, id="zeros"),
    pytest.param(b"", id="an empty record"),
    pytest.param(b"one-word", id="one word"),
    pytest.param(b"2026-11-24T08:00:00Z X a kind that does not exist", id="kind"),
    pytest.param(b"2026-\xff\xfe-24T08:00:00Z L text", id="timestamp"),
    pytest.param(b'2026-11-24T08:00:00Z G {"from": 2', id="half a gap"),
    pytest.param(b"2026-11-24T08:00:00Z G [1]", id="no gap"),
    pytest.param(b"2026-11-24T08:00:00Z L " + b"x" * (1 << 20), id="too long for a record"),
]


@pytest.mark.parametrize("damaged", DAMAGE)
@pytest.mark.parametrize("position", [1, 2, 300])
def test_a_damaged_record_is_a_gap_and_every_other_line_is_kept(tmp_path: Path, damaged: bytes, position: int) -> None:
    write_log(Archive(tmp_path), 300)
    log = tmp_path / "a" / "log"
    whole = log.read_bytes().splitlines(keepends=True)
    whole[position - 1] = damaged + b"\n"
    log.write_bytes(b"".join(whole))
    archive = Archive(tmp_path)
    lines = archive.read("a", 0)
    assert [line.number for line in lines] == list(range(1, 301))
    assert gap_of(lines[position - 1].data).to_document() == {
        "from": position,
        "to": position,
        "why": UNREADABLE,
    }
    assert [line.data for line in lines if line.number != position] == [
        piece.data for number, piece in enumerate(pieces(1, 300), 1) if number != position
    ]
    assert archive.read("a", position - 1, 1) == lines[position - 1 : position]
    assert b"".join(archive.text("a")) == b"".join(as_text(line.kind, line.data) for line in lines)


@pytest.mark.parametrize("damaged", DAMAGE)
def test_opening_a_damaged_log_cuts_off_no_whole_record_and_continues_it(tmp_path: Path, damaged: bytes) -> None:
    archive = Archive(tmp_path)
    write_log(archive, 3)
    log = tmp_path / "a" / "log"
    first, _, third = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first + damaged + b"\n" + third + b"half a record")
    writer = archive.writer("a")
    assert log.read_bytes() == first + damaged + b"\n" + third
    assert writer.last_number == 3
    writer.append(pieces(4, 4))
    lines = archive.read("a", 0)
    assert [line.data for line in lines[2:]] == [piece.data for piece in pieces(3, 4)]
    receipt = writer.receipt(closed=True)
    assert receipt == receipt_of(lines, complete=True)
    assert not receipt.complete
    writer.close()


def test_past_the_limit_one_gap_is_written_and_nothing_else(tmp_path: Path) -> None:
    archive = Archive(tmp_path, max_log_bytes=1024)
    writer = archive.writer("a")
    for n in range(100):
        writer.append(pieces(n, n))
    receipt = writer.receipt(closed=True)
    writer.close()
    lines = archive.read("a", 0)
    assert [line.kind for line in lines].count(LineKind.GAP) == 1
    assert lines[-1].kind is LineKind.GAP
    assert receipt == receipt_of(lines, complete=True)
    assert not receipt.complete


def test_a_failed_write_leaves_a_gap_and_no_half_line(tmp_path: Path, mocker: MockerFixture) -> None:
    archive = Archive(tmp_path)
    writer = archive.writer("a")
    writer.append(pieces(1, 2))
    real_write = os.write
    answers = iter([5, errno.ENOSPC, errno.ENOSPC])

    def full_disk(file: int, data: bytes) -> int:
        answer = next(answers)
        if answer == errno.ENOSPC:
            raise OSError(answer, "No space left on device")
        return real_write(file, data[:answer])

    mocker.patch("launcher.stores.log_file.os.write", full_disk)
    for refused in (pieces(3, 4), pieces(5, 5)):
        with pytest.raises(OSError, match="No space left"):
            writer.append(refused)
        assert archive.last_number("a") == 2
        writer.drop(len(refused))
        assert not writer.receipt(closed=True).complete
    mocker.stopall()
    writer.append(pieces(6, 6))
    lines = archive.read("a", 0)
    assert [line.kind for line in lines] == [LineKind.LINE, LineKind.LINE, LineKind.GAP, LineKind.LINE]
    assert lines[3].data == pieces(6, 6)[0].data
    receipt = writer.receipt(closed=True)
    assert receipt == receipt_of(lines, complete=True)
    [gap] = receipt.gaps
    assert (gap.first, gap.why) == (3, lines_lost(3))
    writer.close()


def test_whole_records_that_a_full_disk_took_are_kept_as_they_may_have_been_read(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    archive = Archive(tmp_path)
    writer = archive.writer("a")
    writer.append(pieces(1, 1))
    real_write = os.write
    read: list[LogLine] = []

    def full_disk(file: int, data: bytes) -> int:
        read[:] = archive.read("a", 0)
        if len(read) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(file, data[: 2 * len(data) // 3])  # a short write comes first

    mocker.patch("launcher.stores.log_file.os.write", full_disk)
    handled = writer.append(pieces(2, 6))
    assert archive.last_number("a") == writer.last_number == 1 + handled == len(read)
    with pytest.raises(OSError, match="No space left"):
        writer.append(pieces(2 + handled, 6))
    writer.drop(5 - handled)
    mocker.stopall()
    writer.append(pieces(7, 7))
    lines = archive.read("a", 0)
    assert lines[: len(read)] == read
    assert [line.kind for line in lines[len(read) :]] == [LineKind.GAP, LineKind.LINE]
    assert writer.receipt(closed=True) == receipt_of(lines, complete=True)
    writer.close()
    with contextlib.closing(archive.writer("a")) as again:
        assert again.receipt(closed=True) == receipt_of(lines, complete=True)


def test_a_half_written_record_that_cannot_be_cut_off_at_once_is_cut_off_before_the_next(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    archive = Archive(tmp_path)
    writer = archive.writer("a")
    real_write = os.write
    answers = iter([5])

    def failing_disk(file: int, data: bytes) -> int:
        for size in answers:
            return real_write(file, data[:size])
        raise OSError(errno.EIO, "Input/output error")

    mocker.patch("launcher.stores.log_file.os.write", failing_disk)
    mocker.patch("launcher.stores.log_file.os.ftruncate", side_effect=OSError(errno.EIO, "Input/output error"))
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            writer.append(pieces(1, 2))
    mocker.stopall()
    writer.append(pieces(1, 2))
    writer.close()
    assert [line[1:] for line in archive.read("a", 0)] == pieces(1, 2)


def test_a_full_log_stays_full_after_it_is_reopened(tmp_path: Path) -> None:
    writer = Archive(tmp_path, max_log_bytes=1024).writer("a")
    writer.append(pieces(1, 200))
    assert writer.full
    writer.close()
    reopened = Archive(tmp_path, max_log_bytes=1024).writer("a")
    assert reopened.full
    reopened.append(pieces(201, 201))
    assert reopened.last_number == writer.last_number
    assert reopened.receipt(closed=True) == writer.receipt(closed=True)
    reopened.close()


def test_the_file_of_a_log_of_empty_lines_stays_within_a_few_times_its_limit(tmp_path: Path) -> None:
    limit = 1 << 20
    writer = Archive(tmp_path, max_log_bytes=limit).writer("a")
    empty = [TimestampedPiece("2026-11-24T08:00:00.000000000Z", LineKind.LINE, b"")] * 10_000
    while not writer.full:
        writer.append(empty)
    writer.close()
    assert (tmp_path / "a" / "log").stat().st_size < 6 * limit
    assert writer.receipt(closed=True).gaps[-1].why.startswith(FULL)
