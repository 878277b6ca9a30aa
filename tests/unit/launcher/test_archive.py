"""The archive: logs that many can read, records, its lock and deletions; disks that fail stop no other run."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.domain.errors import ArchiveUnavailable, ConfigurationError
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import cancelled_before_start
from launcher.domain.runs import Run
from launcher.stores.archive import Archive
from launcher.stores.archive_lock import lock_archive
from launching.log_lines import pieces, write_log

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
ALL = 10_000_000


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


def test_a_record_is_replaced_atomically_until_it_is_final(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    run = Run(run_id="a", job_id="1", created_at=AT, updated_at=AT)
    assert archive.get("a") is None
    assert archive.put(run)
    end = run.finished(cancelled_before_start(), AT, Receipt())
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
    with lock_archive(tmp_path), pytest.raises(ConfigurationError, match="ARCHIVE_DIR"), lock_archive(tmp_path):
        pass
    with lock_archive(tmp_path):
        pass


def test_an_archive_whose_lock_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(ConfigurationError, match=r"ARCHIVE_DIR: .*/\.lock cannot be locked: Is a directory"):
        lock_archive(tmp_path).__enter__()


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
