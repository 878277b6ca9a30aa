"""The log pump: what a full disk refuses is counted, in the log, in the receipt and in the metric."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from launcher.domain.log_lines import LineKind, Receipt, receipt_of
from launcher.domain.runs import Run
from launcher.logs import pump as pumps
from launcher.logs.publisher import Publisher
from launcher.logs.pump import LogPump, lost_lines
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryLogTail

AT = datetime(2026, 11, 24, tzinfo=UTC)
ADVICE = "Free some space (RETENTION_DAYS)."


class Disk:
    """The archive's disk, which can be full."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.full = False
        self._write = os.write
        mocker.patch("launcher.stores.log_file.os.write", self.write)

    def write(self, file: int, data: bytes) -> int:
        """Write as the system does."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(file, data)


@pytest.fixture
def disk(mocker: MockerFixture) -> Disk:
    return Disk(mocker)


def pumped(folder: Path, scenario: Callable[[LogPump], None]) -> tuple[Archive, Receipt]:
    async def play() -> tuple[Archive, Receipt]:
        archive, tail = Archive(folder), InMemoryLogTail(50)
        publisher = Publisher(archive, tail, 50)
        pump = LogPump(archive, publisher, "a")
        pump.open(Run(run_id="a", job_id="two\nlines", created_at=AT, updated_at=AT))
        scenario(pump)
        receipt = pump.close()
        await publisher.stop()
        return archive, receipt

    return asyncio.run(play())


def test_the_gap_counts_all_lines_of_several_refusals(tmp_path: Path, disk: Disk) -> None:
    before = lost_lines()

    def scenario(pump: LogPump) -> None:
        pump.feed(b"kept\n")
        disk.full = True
        for _ in range(3):
            pump.feed(b"refused\n" * 411)
        pump.feed(b"refused, its end")
        disk.full = False
        pump.feed(b" kept\n")

    archive, receipt = pumped(tmp_path, scenario)
    lines = archive.read("a", 0)
    assert [line.kind for line in lines] == [LineKind.SYSTEM, LineKind.LINE, LineKind.GAP, LineKind.LINE]
    assert lines[3].data == b"refused, its end kept"
    [gap] = receipt.gaps
    assert (gap.first, gap.last) == (3, 3)
    assert gap.why == f"The disk refused 1,233 lines: they are not kept. {ADVICE}"
    assert receipt == receipt_of(lines, complete=True)
    assert lost_lines() - before == 1233


def test_a_gap_at_the_logs_end_is_marked_once_there_is_room(tmp_path: Path, disk: Disk) -> None:
    def scenario(pump: LogPump) -> None:
        disk.full = True
        pump.feed(b"refused\n")
        disk.full = False

    archive, receipt = pumped(tmp_path, scenario)
    lines = archive.read("a", 0)
    assert [line.kind for line in lines] == [LineKind.SYSTEM, LineKind.GAP]
    assert receipt == receipt_of(lines, complete=True)
    assert receipt.gaps[0].why == f"The disk refused 1 line: it is not kept. {ADVICE}"


def test_a_disk_that_is_full_to_the_end_leaves_the_count_in_the_receipt(tmp_path: Path, disk: Disk) -> None:
    def scenario(pump: LogPump) -> None:
        disk.full = True
        pump.feed(b"refused\nrefused\nthe end")

    archive, receipt = pumped(tmp_path, scenario)
    assert [line.kind for line in archive.read("a", 0)] == [LineKind.SYSTEM]
    [gap] = receipt.gaps
    assert (gap.first, gap.why) == (2, f"The disk refused 3 lines: they are not kept. {ADVICE}")
    assert (receipt.lines, receipt.complete) == (1, False)


def test_what_is_past_the_cap_is_not_counted_as_refused(tmp_path: Path, disk: Disk) -> None:
    def scenario(pump: LogPump) -> None:
        pump._writer.full = True
        disk.full = True
        pump.feed(b"past the cap\n")

    before = lost_lines()
    _, receipt = pumped(tmp_path, scenario)
    assert (receipt.gaps, lost_lines()) == ((), before)


def test_the_first_line_is_one_line_whatever_a_job_is_called(tmp_path: Path) -> None:
    archive, _ = pumped(tmp_path, lambda pump: pump.feed(b"next\n"))
    assert [line.data for line in archive.read("a", 0)] == [b"Starting pipeline default for job two lines", b"next"]
    assert pumps.system_line("half \ud83d\nline") == "half \N{REPLACEMENT CHARACTER} line".encode()


def test_an_unfinished_line_is_told_once_it_has_been_redrawn(tmp_path: Path) -> None:
    shown: list[str | None] = []

    def scenario(pump: LogPump) -> None:
        for chunk in (b"plain", b"\r10 %", b"\r20 \xff", b"\r", b"\n", b"next"):
            pump.feed(chunk)
            shown.append(pump.unfinished)

    pumped(tmp_path, scenario)
    assert shown == [None, "10 %", "20 \N{REPLACEMENT CHARACTER}", "20 \N{REPLACEMENT CHARACTER}", None, None]
