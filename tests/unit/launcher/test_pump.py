"""The log pump and its sink: lines that a full disk refuses are counted in the log, the receipt and the metric."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pytest_mock import MockerFixture

from launcher.domain.log_lines import LineKind, Receipt, TimestampedPiece, receipt_of
from launcher.domain.runs import Run
from launcher.logs.publisher import Publisher
from launcher.logs.pump import LogPump
from launcher.logs.sink import LogSink, lost_lines, system_line
from launcher.stores.archive import Archive
from launcher.stores.log_file import lines_lost
from launcher.stores.memory import InMemoryLogTail

AT = datetime(2026, 11, 24, tzinfo=UTC)
RUN = Run(run_id="a", job_id="two\nlines", created_at=AT, updated_at=AT)
T = TypeVar("T")


class Disk:
    """The archive's disk, which can be full."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.full = False
        self._write = os.write
        mocker.patch("launcher.stores.log_file.os.write", self.write)

    def write(self, file: int, data: bytes) -> int:
        """Stand in for `os.write`."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(file, data)


@pytest.fixture
def disk(mocker: MockerFixture) -> Disk:
    return Disk(mocker)


def run_pump(folder: Path, scenario: Callable[[LogPump], Awaitable[None]]) -> tuple[Archive, Receipt]:
    async def run() -> tuple[Archive, Receipt]:
        archive, tail = Archive(folder), InMemoryLogTail(50)
        publisher = Publisher(archive, tail, 50)
        pump = LogPump(await LogSink.open(archive, publisher, RUN, drop_on_error=True))
        await scenario(pump)
        receipt = await pump.close()
        await publisher.stop()
        return archive, receipt

    return asyncio.run(run())


def test_one_gap_counts_the_lines_of_several_refused_writes(tmp_path: Path, disk: Disk) -> None:
    before = lost_lines()

    async def scenario(pump: LogPump) -> None:
        await pump.feed(b"accepted\n")
        disk.full = True
        for _ in range(3):
            await pump.feed(b"refused\n" * 411)
        await pump.feed(b"refused, its end")
        disk.full = False
        await pump.feed(b" accepted\n")

    archive, receipt = run_pump(tmp_path, scenario)
    lines = archive.read("a", 0)
    assert [line.kind for line in lines] == [LineKind.SYSTEM, LineKind.LINE, LineKind.GAP, LineKind.LINE]
    assert lines[3].data == b"refused, its end accepted"
    [gap] = receipt.gaps
    assert (gap.first, gap.last) == (3, 3)
    assert gap.why == lines_lost(1233)
    assert receipt == receipt_of(lines, complete=True)
    assert lost_lines() - before == 1233


def test_lines_dropped_at_the_end_are_marked_once_there_is_room(tmp_path: Path, disk: Disk) -> None:
    async def scenario(pump: LogPump) -> None:
        disk.full = True
        await pump.feed(b"refused\n")
        disk.full = False

    archive, receipt = run_pump(tmp_path, scenario)
    lines = archive.read("a", 0)
    assert [line.kind for line in lines] == [LineKind.SYSTEM, LineKind.GAP]
    assert receipt == receipt_of(lines, complete=True)
    assert receipt.gaps[0].why == lines_lost(1)


def test_a_disk_that_stays_full_leaves_the_count_in_the_receipt(tmp_path: Path, disk: Disk) -> None:
    async def scenario(pump: LogPump) -> None:
        disk.full = True
        await pump.feed(b"refused\nrefused\nthe end")

    archive, receipt = run_pump(tmp_path, scenario)
    assert [line.kind for line in archive.read("a", 0)] == [LineKind.SYSTEM]
    [gap] = receipt.gaps
    assert (gap.first, gap.why) == (2, lines_lost(3))
    assert (receipt.lines, receipt.complete) == (1, False)


def test_lines_past_the_limit_of_the_log_are_not_counted_as_refused(tmp_path: Path, disk: Disk) -> None:
    async def scenario(pump: LogPump) -> None:
        pump._sink._writer.full = True
        disk.full = True
        await pump.feed(b"past the limit\n")

    before = lost_lines()
    _, receipt = run_pump(tmp_path, scenario)
    assert (receipt.gaps, lost_lines()) == ((), before)


def test_the_first_line_is_one_line_even_if_the_job_id_has_two(tmp_path: Path) -> None:
    archive, _ = run_pump(tmp_path, lambda pump: pump.feed(b"next\n"))
    assert [line.data for line in archive.read("a", 0)] == [b"Starting pipeline default for job two lines", b"next"]
    assert system_line("half \ud83d\nline") == "half \N{REPLACEMENT CHARACTER} line".encode()


def test_an_unfinished_line_is_shown_once_it_redraws_itself(tmp_path: Path) -> None:
    shown: list[str | None] = []

    async def scenario(pump: LogPump) -> None:
        for chunk in (b"plain", b"\r10 %", b"\r20 \xff", b"\r", b"\n", b"next"):
            await pump.feed(chunk)
            shown.append(pump.partial_line)

    run_pump(tmp_path, scenario)
    assert shown == [None, "10 %", "20 \N{REPLACEMENT CHARACTER}", "20 \N{REPLACEMENT CHARACTER}", None, None]


def test_a_slow_disk_does_not_block_the_event_loop(tmp_path: Path, mocker: MockerFixture) -> None:
    async def scenario() -> None:
        archive = Archive(tmp_path)
        publisher = Publisher(archive, InMemoryLogTail(50), 50)
        gate = threading.Event()

        def slow(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any) -> Any:
                assert gate.wait(10)
                gate.clear()
                return call(*args)

            return called

        async def passes_while_waiting(work: Coroutine[Any, Any, T]) -> T:
            task = asyncio.create_task(work)
            for _ in range(5):
                await asyncio.sleep(0.001)
            assert not task.done()
            gate.set()
            return await task

        mocker.patch.object(archive, "writer", slow(archive.writer))
        sink = await passes_while_waiting(LogSink.open(archive, publisher, RUN))
        mocker.patch.object(sink._writer, "append", slow(sink._writer.append))
        await passes_while_waiting(sink.gap("Lines are missing."))
        mocker.patch.object(sink._writer, "close", slow(sink._writer.close))
        assert (await passes_while_waiting(sink.close())).lines == 2
        await publisher.stop()

    asyncio.run(scenario())


def test_a_log_that_is_closed_twice_repeats_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        archive = Archive(tmp_path)
        publisher = Publisher(archive, InMemoryLogTail(50), 50)
        for _ in range(2):  # the process is killed before it records the outcome
            sink = await LogSink.open(archive, publisher, RUN)
            receipt = await sink.close(missing="The pod was deleted.", note="It\nfailed.")
            assert [line.kind for line in archive.read("a", 0)] == [LineKind.SYSTEM, LineKind.GAP, LineKind.SYSTEM]
            assert receipt == receipt_of(archive.read("a", 0), complete=True)
        await publisher.stop()

    asyncio.run(scenario())


def test_a_failed_write_is_raised_to_a_source_that_keeps_its_lines(tmp_path: Path, disk: Disk) -> None:
    async def scenario() -> None:
        archive = Archive(tmp_path)
        publisher = Publisher(archive, InMemoryLogTail(50), 50)
        sink = await LogSink.open(archive, publisher, RUN)
        disk.full = True
        line = [TimestampedPiece("2026-11-24T08:00:00Z", LineKind.LINE, b"one")]
        with pytest.raises(OSError, match="No space left"):
            await sink.write(line)
        disk.full = False
        await sink.write(line)
        receipt = await sink.close()
        assert (receipt.lines, receipt.complete) == (2, True)
        await publisher.stop()

    asyncio.run(scenario())
