"""The feed: every viewer receives every line once, in order, whatever the tail does."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest

from launcher.domain.errors import ArchiveUnavailable, StoreUnavailable
from launcher.domain.log_lines import LineKind, LogLine, TimestampedPiece
from launcher.logs import events, feed
from launcher.logs.feed import NOT_KEPT, UNREADABLE
from launcher.logs.hub import FeedHub
from launcher.logs.publisher import Publisher
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryLogTail
from launching.log_lines import STAMP

LINES = 3000


class FailingArchive(Archive):
    """An archive whose disk can fail."""

    failures = 0

    def read(self, run_id: str, after: int, limit: int = 1000, max_bytes: float = inf) -> list[LogLine]:
        """Fail, or read."""
        if self.failures:
            self.failures -= 1
            raise ArchiveUnavailable
        return super().read(run_id, after, limit, max_bytes)


class FlakyTail(InMemoryLogTail):
    """A tail whose calls can fail."""

    def __init__(self, limit: int, seed: int, failure_rate: float) -> None:
        super().__init__(limit)
        self._random, self._failure_rate = random.Random(seed), failure_rate

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """Fail, or publish."""
        self._maybe_fail()
        await super().publish(run_id, lines, replace=replace)

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """Fail, or read."""
        self._maybe_fail()
        return await super().read(run_id, after, wait_seconds=wait_seconds)

    def _maybe_fail(self) -> None:
        if self._random.random() < self._failure_rate:
            raise StoreUnavailable


async def numbers(hub: FeedHub, after: int) -> list[int]:
    received: list[int] = []
    finished = False
    async for body in hub.events("a", after):
        assert not finished
        received += [int(number) for number in re.findall(rb"^id: (\d+)$", body, re.M)]
        finished = b"event: end" in body
    assert finished
    return received


@pytest.mark.parametrize(("seed", "failure_rate"), [(1, 0.0), (2, 0.0), (3, 0.2), (4, 0.6)])
def test_viewers_who_join_at_any_line_receive_each_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, failure_rate: float
) -> None:
    monkeypatch.setattr(feed, "_TAIL_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(feed, "_RING_BYTES", 4096)  # most viewers fall behind it
    chance = random.Random(seed)
    status = {"status": "running"}

    async def read_status(run_id: str) -> dict[str, Any]:
        return dict(status)

    async def scenario() -> None:
        archive, tail = Archive(tmp_path), FlakyTail(50, seed, failure_rate)
        publisher, hub = Publisher(archive, tail, 50), FeedHub(archive, tail, read_status)
        writer = archive.writer("a")
        viewers = []
        written = 0
        while written < LINES:
            count = chance.randint(1, 120)
            numbers_ = range(written + 1, written + count + 1)
            writer.append([TimestampedPiece(STAMP, LineKind.LINE, b"line %d" % n) for n in numbers_])
            written += count
            publisher.wake("a")
            if chance.random() < 0.5:
                after = chance.randint(0, written)
                viewers.append((after, asyncio.create_task(numbers(hub, after))))
            await asyncio.sleep(0)
        writer.close()
        publisher.finish("a")
        status["status"] = "completed"
        viewers.append((0, asyncio.create_task(numbers(hub, 0))))
        async with asyncio.timeout(30):
            for after, viewer in viewers:
                assert await viewer == list(range(after + 1, written + 1))
            assert await numbers(hub, written) == await numbers(hub, 10**9) == []
        await publisher.stop()

    asyncio.run(scenario())


def test_lines_that_are_no_longer_kept_are_one_gap(tmp_path: Path) -> None:
    async def read_status(run_id: str) -> dict[str, Any]:
        return {"status": "completed"}

    async def scenario() -> bytes:
        archive, tail = Archive(tmp_path), InMemoryLogTail(5)
        lines = [LogLine(n, STAMP, LineKind.LINE, b"x") for n in range(1, 11)]
        await tail.publish("a", lines)
        return b"".join([body async for body in FeedHub(archive, tail, read_status).events("a", 0)])

    body = asyncio.run(scenario())
    gap = json.dumps({"from": 1, "to": 5, "why": NOT_KEPT})
    assert f"event: gap\ndata: {gap}\nid: 5\n\n".encode() in body
    assert re.findall(rb"^id: (\d+)$", body, re.M) == [b"5", b"6", b"7", b"8", b"9", b"10"]


@pytest.mark.parametrize("faults", [1, 3])
def test_an_unexpected_fault_of_the_tail_is_retried_with_the_next_line_at_the_latest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, faults: int
) -> None:
    class FaultyTail(InMemoryLogTail):
        def __init__(self, limit: int) -> None:
            super().__init__(limit)
            self.faults = faults

        async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
            if self.faults:
                self.faults -= 1
                raise ValueError("an unexpected fault")
            await super().publish(run_id, lines, replace=replace)

    async def scenario() -> None:
        archive, tail = Archive(tmp_path), FaultyTail(50)
        publisher = Publisher(archive, tail, 50)
        writer = archive.writer("a")
        async with asyncio.timeout(10):
            for number in (1, 2):
                writer.append([TimestampedPiece(STAMP, LineKind.LINE, b"line")])
                publisher.wake("a")
                while publisher.pending("a") and await tail.last_number("a") < number:
                    await asyncio.sleep(0)
                assert await tail.last_number("a") == number or (faults == 3 and not publisher.pending("a"))
        assert await tail.last_number("a") == 2
        assert "an unexpected fault" in caplog.text
        writer.close()
        await publisher.stop()

    asyncio.run(scenario())


def waiting(position: int, eta: float | None, status: str = "queued") -> dict[str, Any]:
    return {"status": status, "queue": {"position": position, "eta_seconds": eta, "why": "x"}}


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        (None, waiting(2, 30.0), True),
        (waiting(2, 30.0), waiting(2, 30.0), False),
        (waiting(2, 30.0), waiting(2, 29.5), False),
        (waiting(2, 30.0), waiting(2, 24.0), True),
        (waiting(2, 30.0), waiting(1, 30.0), True),
        (waiting(2, None), waiting(2, 30.0), True),
        (waiting(1, 0.0), {"status": "running", "queue": None}, True),
    ],
)
def test_viewers_receive_changes_but_not_every_tick_of_an_eta(
    old: dict[str, Any] | None, new: dict[str, Any], sent: bool
) -> None:
    assert feed._differs(new, old) is sent


def test_a_viewer_that_starts_beyond_the_end_takes_no_lines_from_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        archive, tail, status = Archive(tmp_path), InMemoryLogTail(50), "queued"

        async def read_status(run_id: str) -> dict[str, Any]:
            return {"status": status, "queue": None}

        hub = FeedHub(archive, tail, read_status)

        async def events_after(after: int) -> bytes:
            return b"".join([body async for body in hub.events("a", after)])

        async with asyncio.timeout(20):
            beyond, other = asyncio.create_task(events_after(999_999)), asyncio.create_task(events_after(0))
            await asyncio.sleep(0)  # both follow
            writer = archive.writer("a")
            writer.append([TimestampedPiece(STAMP, LineKind.LINE, b"one")])
            writer.close()
            status = "completed"
            assert b"data: one\n" in await other
            assert b"event: gap" not in await other
            assert b"event: end" in await beyond

    asyncio.run(scenario())


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(feed, "_FAULT_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(feed, "_FAULT_PAUSE_MAX_SECONDS", 0.01)


def archive_with(folder: Path, count: int) -> FailingArchive:
    archive = FailingArchive(folder)
    writer = archive.writer("a")
    writer.append([TimestampedPiece(STAMP, LineKind.LINE, b"line %d" % n) for n in range(1, count + 1)])
    writer.close()
    return archive


async def streamed(hub: FeedHub, after: int = 0) -> bytes:
    async with asyncio.timeout(20):
        return b"".join([body async for body in hub.events("a", after)])


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(
    ("log", "gap"),
    [
        ({"lines": 40}, {"from": 1, "to": 40}),
        ({"lines": 0}, {"from": 1, "to": 1}),
        (None, {"from": 1, "to": 1}),
    ],
)
def test_a_finished_run_with_an_unreadable_log_streams_a_gap_and_the_end(
    tmp_path: Path, log: dict[str, int] | None, gap: dict[str, int]
) -> None:
    async def read_status(run_id: str) -> dict[str, Any]:
        return {"status": "failed", "log": log}

    archive = archive_with(tmp_path, 3)
    archive.failures = 1000
    stream = asyncio.run(streamed(FeedHub(archive, InMemoryLogTail(5), read_status)))
    [shown] = re.findall(rb"^event: gap\ndata: (.*)$", stream, re.M)
    assert json.loads(shown) == {**gap, "why": UNREADABLE}
    assert stream.count(b"event: end\n") == 1


@pytest.mark.usefixtures("quick_retries")
def test_an_unreadable_log_of_a_live_run_is_retried_until_it_can_be_read(tmp_path: Path) -> None:
    status = "running"

    async def read_status(run_id: str) -> dict[str, Any]:
        return {"status": status}

    async def scenario() -> bytes:
        nonlocal status
        archive = archive_with(tmp_path, 3)
        archive.failures = 20
        viewer = asyncio.create_task(streamed(FeedHub(archive, InMemoryLogTail(5), read_status)))
        while archive.failures and not viewer.done():
            await asyncio.sleep(0.001)
        status = "completed"
        return await viewer

    stream = asyncio.run(scenario())
    assert re.findall(rb"^id: (\d+)$", stream, re.M) == [b"1", b"2", b"3"]
    assert b"event: gap" not in stream and b"event: end\n" in stream


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("failures", [2, 1000])
def test_a_viewer_that_is_behind_when_the_disk_fails_receives_its_lines_or_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr(feed, "_RING_BYTES", 1)
    monkeypatch.setattr(events, "CHUNK_BYTES", 1)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 1)

    async def read_status(run_id: str) -> dict[str, Any]:
        return {"status": "completed"}

    async def scenario() -> tuple[bytes, bytes]:
        archive = archive_with(tmp_path, 3)
        hub = FeedHub(archive, InMemoryLogTail(5), read_status)
        open_stream = hub.events("a", 0)
        received = await anext(open_stream)
        async with asyncio.timeout(10):
            while not hub._feeds["a"].finished:
                await asyncio.sleep(0.001)
        archive.failures = failures
        behind = await streamed(hub)
        archive.failures = 0
        await open_stream.aclose()
        return received, behind

    _, stream = asyncio.run(scenario())
    assert (b"event: gap" in stream) == (failures > 5)
    assert b"data: line 3\n" in stream and (b"data: line 1\n" in stream) == (failures < 5)
    assert stream.count(b"event: end\n") == 1


def test_counting_a_long_log_does_not_block_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_status(run_id: str) -> dict[str, Any]:
        return {"status": "completed"}

    async def scenario() -> bytes:
        archive, gate, counting = archive_with(tmp_path, 3), threading.Event(), threading.Event()

        def count(run_id: str) -> int:
            counting.set()
            assert gate.wait(10)
            return 3

        monkeypatch.setattr(archive, "last_number", count)
        viewer = asyncio.create_task(streamed(FeedHub(archive, InMemoryLogTail(5), read_status)))
        while not counting.is_set() and not viewer.done():
            await asyncio.sleep(0.001)
        assert not viewer.done()
        gate.set()
        return await viewer

    assert b"data: line 3\n" in asyncio.run(scenario())
