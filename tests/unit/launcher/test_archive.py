"""The archive is exact after crashes, damage and full disks, and keeps to its limits."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from launcher.domain.errors import ArchiveUnavailable, ConfigurationError
from launcher.domain.log_lines import LineKind, LogLine, Receipt, TimestampedPiece, as_text, gap_of, receipt_of
from launcher.domain.outcomes import cancelled_before_start
from launcher.domain.runs import Run
from launcher.stores.archive import Archive, claim

STAMP = "2026-11-24T08:00:00.000000001Z"
AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
ALL = 10_000_000


def pieces(first: int, last: int) -> list[TimestampedPiece]:
    return [TimestampedPiece(STAMP, LineKind.LINE, b"line %d \x00\xff \r" % n) for n in range(first, last + 1)]


def write_log(archive: Archive, count: int) -> None:
    writer = archive.writer("a")
    writer.append(pieces(1, count))
    writer.close()


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 511, 512, 513, 3000])
def test_a_reader_receives_the_lines_after_any_number(tmp_path: Path, count: int) -> None:
    archive = Archive(tmp_path)
    write_log(archive, count)
    assert archive.last_number("a") == count
    for after in {0, 1, 254, 255, 256, 257, 511, 512, count - 1, count, count + 5}:
        lines = archive.read("a", max(after, 0), 300)
        expected = list(range(max(after, 0) + 1, count + 1))[:300]
        assert [line.number for line in lines] == expected
        assert [line.data for line in lines] == [data for n in expected for _, _, data in pieces(n, n)]


def test_a_reader_follows_a_growing_log(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    writer = archive.writer("a")
    last = 0
    for n in range(1, 700):
        writer.append(pieces(n, n))
        for line in archive.read("a", last):
            assert line.number == last + 1
            last = line.number
    assert last == 699
    writer.close()


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
        assert writer.number == before
        writer.append(pieces(before + 1, 4))
        assert [line.data for line in fresh.read("a", 0)] == [data for _, _, data in pieces(1, 4)]
        assert writer.receipt(ended=True) == receipt_of(fresh.read("a", 0), complete=True)
        writer.close()


WRITER = """
import sys
from pathlib import Path
from launcher.domain.log_lines import LineKind, TimestampedPiece
from launcher.stores.archive import Archive
writer = Archive(Path(sys.argv[1]), 1 << 40).writer("a")  # no limit, however late it is killed
n = writer.number
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
        lines = Archive(tmp_path).read("a", 0, ALL)
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
        "why": "This line of the archive cannot be read.",
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
    assert writer.number == 3
    writer.append(pieces(4, 4))
    lines = archive.read("a", 0)
    assert [line.data for line in lines[2:]] == [piece.data for piece in pieces(3, 4)]
    receipt = writer.receipt(ended=True)
    assert receipt == receipt_of(lines, complete=True)
    assert not receipt.complete
    writer.close()


@pytest.mark.parametrize(
    "read",
    [
        lambda archive, run_id: archive.read(run_id, 0),
        lambda archive, run_id: archive.last_number(run_id),
        lambda archive, run_id: list(archive.text(run_id)),
    ],
)
def test_a_log_that_the_disk_cannot_read_makes_the_archive_unavailable(
    tmp_path: Path, read: Callable[[Archive, str], object]
) -> None:
    archive = Archive(tmp_path)
    (tmp_path / "folder" / "log").mkdir(parents=True)
    (tmp_path / "file").touch()
    for run_id in ("folder", "file"):
        with pytest.raises(ArchiveUnavailable, match="ARCHIVE_DIR"):
            read(archive, run_id)
    assert read(archive, "none") in ([], 0, [b""])


def test_threads_can_read_a_log_at_the_same_time(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    writer = archive.writer("a")
    for first in range(1, 20_000, 500):
        writer.append(pieces(first, first + 499))
    writer.close()

    def read(seed: int) -> bool:
        if seed % 2:
            return archive.last_number("a") == 20_000
        return [line.number for line in archive.read("a", 500 * seed, 3)] == [500 * seed + n for n in (1, 2, 3)]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(39)))


def test_past_the_limit_one_gap_is_written_and_nothing_else(tmp_path: Path) -> None:
    archive = Archive(tmp_path, max_log_bytes=1024)
    writer = archive.writer("a")
    for n in range(100):
        writer.append(pieces(n, n))
    receipt = writer.receipt(ended=True)
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
        assert not writer.receipt(ended=True).complete
    mocker.stopall()
    writer.append(pieces(6, 6))
    lines = archive.read("a", 0)
    assert [line.kind for line in lines] == [LineKind.LINE, LineKind.LINE, LineKind.GAP, LineKind.LINE]
    assert lines[3].data == pieces(6, 6)[0].data
    receipt = writer.receipt(ended=True)
    assert receipt == receipt_of(lines, complete=True)
    [gap] = receipt.gaps
    assert (gap.first, gap.why.startswith("The disk refused 3 lines: they are not kept.")) == (3, True)
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
    assert archive.last_number("a") == writer.number == 1 + handled == len(read)
    with pytest.raises(OSError, match="No space left"):
        writer.append(pieces(2 + handled, 6))
    writer.drop(5 - handled)
    mocker.stopall()
    writer.append(pieces(7, 7))
    lines = archive.read("a", 0)
    assert lines[: len(read)] == read
    assert [line.kind for line in lines[len(read) :]] == [LineKind.GAP, LineKind.LINE]
    assert writer.receipt(ended=True) == receipt_of(lines, complete=True)
    writer.close()
    with contextlib.closing(archive.writer("a")) as again:
        assert again.receipt(ended=True) == receipt_of(lines, complete=True)


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
    assert reopened.number == writer.number
    assert reopened.receipt(ended=True) == writer.receipt(ended=True)
    reopened.close()


def test_a_record_is_replaced_atomically_until_it_is_final(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    run = Run(run_id="a", job_id="1", created_at=AT, updated_at=AT)
    assert archive.get("a") is None
    assert archive.put(run)
    end = run.ended(cancelled_before_start(), AT, Receipt())
    (tmp_path / "a" / "run.new").write_bytes(b'{"half":')  # a writer killed before the rename
    assert archive.get("a") == run
    assert archive.put(end)
    assert not archive.put(run.started(AT))
    assert list(archive.runs()) == [end]
    archive.delete("a")
    assert archive.get("a") is None
    assert archive.read("a", 0) == []
    assert b"".join(archive.text("a")) == b""


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b'{"run_id": "b"}\n', b"\xff\x00", b"null"])
def test_a_record_that_cannot_be_read_is_skipped_and_can_be_replaced(tmp_path: Path, content: bytes) -> None:
    archive = Archive(tmp_path)
    runs = [Run(run_id=name, job_id="1", created_at=AT, updated_at=AT) for name in "abc"]
    for run in runs:
        archive.put(run)
    (tmp_path / "b" / "run.json").write_bytes(content)
    assert archive.get("b") is None
    assert sorted(run.run_id for run in archive.runs()) == ["a", "c"]
    assert archive.put(runs[1])
    assert archive.get("b") == runs[1]


@pytest.mark.parametrize("kind", ["a folder", "another run's record", "a link to itself", "a FIFO", "4 TiB"])
def test_a_record_that_cannot_be_opened_affects_no_other_run(tmp_path: Path, kind: str) -> None:
    archive = Archive(tmp_path)
    runs = [Run(run_id=name, job_id="1", created_at=AT, updated_at=AT) for name in "abc"]
    for run in runs:
        archive.put(run)
    record = tmp_path / "b" / "run.json"
    record.unlink()
    if kind == "a folder":
        (record / "inside").mkdir(parents=True)
    elif kind == "another run's record":
        record.write_bytes(runs[0].to_json())
    elif kind == "a FIFO":
        os.mkfifo(record)
    elif kind == "4 TiB":
        record.touch()
        os.truncate(record, 4 << 40)
    else:
        record.symlink_to(record)
    assert archive.get("b") is None
    assert archive.unreadable == {"b"}
    assert sorted(run.run_id for run in archive.runs()) == ["a", "c"]
    assert archive.put(runs[1])
    assert archive.get("b") == runs[1]
    assert archive.unreadable == set()


def test_a_file_in_place_of_a_runs_folder_is_not_a_run(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    (tmp_path / "b").write_text("a stray file")
    assert archive.get("b") is None
    assert list(archive.runs()) == []


def test_only_one_process_can_claim_an_archive(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(ConfigurationError, match="ARCHIVE_DIR"), claim(tmp_path):
        pass
    with claim(tmp_path):
        pass


def test_an_archive_whose_lock_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(ConfigurationError, match=r"ARCHIVE_DIR: .*/\.lock cannot be locked: Is a directory"):
        claim(tmp_path).__enter__()


def test_the_file_of_a_log_of_empty_lines_stays_within_a_few_times_its_limit(tmp_path: Path) -> None:
    limit = 1 << 20
    writer = Archive(tmp_path, max_log_bytes=limit).writer("a")
    empty = [TimestampedPiece("2026-11-24T08:00:00.000000000Z", LineKind.LINE, b"")] * 10_000
    while not writer.full:
        writer.append(empty)
    writer.close()
    assert (tmp_path / "a" / "log").stat().st_size < 6 * limit
    assert writer.receipt(ended=True).gaps[-1].why.startswith("The log passed")


def test_a_record_whose_times_have_no_zone_is_skipped(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.put(Run(run_id="b", job_id="1", created_at=AT, updated_at=AT))
    record = tmp_path / "b" / "run.json"
    record.write_bytes(record.read_bytes().replace(b"Z", b"").replace(b"+00:00", b""))
    assert list(archive.runs()) == [] and archive.unreadable == {"b"}


def test_an_interrupted_deletion_leaves_the_record_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path)
    archive.put(Run(run_id="b", job_id="1", created_at=AT, updated_at=AT))
    archive.writer("b").close()
    assert archive.has_log("b")

    def killed(path: Path, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("launcher.stores.archive.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        archive.delete("b")
    assert not archive.has_log("b")
    assert [run.run_id for run in archive.runs()] == ["b"]
    monkeypatch.undo()
    archive.delete("b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["FIFO", "link"])
def test_log_that_is_no_regular_file_blocks_nobody(tmp_path: Path, make: Callable[[Path], None]) -> None:
    archive = Archive(tmp_path)
    (tmp_path / "a").mkdir()
    make(tmp_path / "a" / "log")
    for read in (
        archive.last_number,
        lambda run_id: list(archive.text(run_id)),
        lambda run_id: archive.read(run_id, 0),
    ):
        with pytest.raises(ArchiveUnavailable):
            read("a")
    with pytest.raises(OSError):
        archive.writer("a")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/full")])
def test_record_is_written_whatever_is_in_the_way_of_its_new_version(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    archive, run = Archive(tmp_path), Run(run_id="a", job_id="1", created_at=AT, updated_at=AT)
    (tmp_path / "a").mkdir()
    make(tmp_path / "a" / "run.new")
    assert archive.put(run)
    assert archive.get("a") == run
