"""The feed: every viewer sees every line once, in order, whatever the tail does."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher.domain.errors import StoreUnavailable
from launcher.domain.log_lines import Gap, LineKind, LogLine, TimestampedPiece, gap_data
from launcher.logs import feed
from launcher.logs.feed import Chunk, FeedHub, line_event
from launcher.logs.publisher import Publisher
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryLogTail

STAMP = "2026-11-24T08:00:00.000000001Z"
LINES = 3000


class FlakyTail(InMemoryLogTail):
    """A tail that is away now and then, at every call."""

    def __init__(self, limit: int, seed: int, often: float) -> None:
        super().__init__(limit)
        self._random, self._often = random.Random(seed), often

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """Fail, or do it."""
        self._maybe_fail()
        await super().publish(run_id, lines, replace=replace)

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """Fail, or do it."""
        self._maybe_fail()
        return await super().read(run_id, after, wait_seconds=wait_seconds)

    def _maybe_fail(self) -> None:
        if self._random.random() < self._often:
            raise StoreUnavailable


async def numbers(hub: FeedHub, after: int) -> list[int]:
    seen: list[int] = []
    ended = False
    async for body in hub.events("a", after):
        assert not ended
        seen += [int(number) for number in re.findall(rb"^id: (\d+)$", body, re.M)]
        ended = b"event: end" in body
    assert ended
    return seen


@pytest.mark.parametrize(("seed", "often"), [(1, 0.0), (2, 0.0), (3, 0.2), (4, 0.6)])
def test_viewers_who_join_anywhere_see_every_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, often: float
) -> None:
    monkeypatch.setattr(feed, "_AWAY_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(feed, "_RING_BYTES", 4096)  # most viewers fall out of it
    chance = random.Random(seed)
    status = {"status": "running"}

    async def look(run_id: str) -> dict[str, Any]:
        return dict(status)

    async def scenario() -> None:
        archive, tail = Archive(tmp_path), FlakyTail(50, seed, often)
        publisher, hub = Publisher(archive, tail, 50), FeedHub(archive, tail, look)
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


def test_lines_that_nobody_has_any_more_are_one_gap(tmp_path: Path) -> None:
    async def look(run_id: str) -> dict[str, Any]:
        return {"status": "completed"}

    async def scenario() -> bytes:
        archive, tail = Archive(tmp_path), InMemoryLogTail(5)
        lines = [LogLine(n, STAMP, LineKind.LINE, b"x") for n in range(1, 11)]
        await tail.publish("a", lines)
        return b"".join([body async for body in FeedHub(archive, tail, look).events("a", 0)])

    body = asyncio.run(scenario())
    assert b'event: gap\ndata: {"from": 1, "to": 5, "why": "These lines are no longer kept."}\nid: 5\n\n' in body
    assert re.findall(rb"^id: (\d+)$", body, re.M) == [b"5", b"6", b"7", b"8", b"9", b"10"]


@pytest.mark.parametrize(
    ("kind", "data", "event"),
    [
        (LineKind.LINE, b"a\r", b"data: a\nid: 7\n\n"),
        (LineKind.SYSTEM, b"Starting", b"data: Starting\nid: 7\n\n"),
        (LineKind.PART, b"a", b"data: a [line continues]\nid: 7\n\n"),
        (LineKind.LINE, b"", b"data: \nid: 7\n\n"),
        (
            LineKind.LINE,
            b'::progress:: {"step": 1, "of": 2, "label": "x"}',
            b'event: progress\ndata: {"step": 1, "of": 2, "label": "x"}\nid: 7\n\n',
        ),
        (LineKind.LINE, b"::progress:: nonsense", b"data: ::progress:: nonsense\nid: 7\n\n"),
        (
            LineKind.GAP,
            gap_data(Gap(first=7, last=7, why="Gone.")),
            b'event: gap\ndata: {"from": 7, "to": 7, "why": "Gone."}\nid: 7\n\n',
        ),
    ],
)
def test_each_line_is_one_event_with_its_number(kind: LineKind, data: bytes, event: bytes) -> None:
    assert line_event(LogLine(7, STAMP, kind, data)) == event


def test_a_chunk_gives_what_comes_after_a_cursor() -> None:
    chunk = Chunk(4, 6, [b"4", b"5", b"6"], b"456")
    assert [chunk.after(cursor) for cursor in (2, 3, 4, 5, 6)] == [b"456", b"456", b"56", b"6", b""]


@pytest.mark.parametrize("faults", [1, 3])
def test_a_tail_that_fails_for_an_unknown_reason_is_tried_again_and_at_the_latest_with_the_next_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, faults: int
) -> None:
    class FaultyTail(InMemoryLogTail):
        def __init__(self, limit: int) -> None:
            super().__init__(limit)
            self.faults = faults

        async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
            if self.faults:
                self.faults -= 1
                raise ValueError("nobody thought of this")
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
        assert "nobody thought of this" in caplog.text
        writer.close()
        await publisher.stop()

    asyncio.run(scenario())


def waiting(position: int, eta: float | None, status: str = "queued") -> dict[str, Any]:
    return {"status": status, "queue": {"position": position, "eta_seconds": eta, "why": "x"}}


@pytest.mark.parametrize(
    ("old", "new", "told"),
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
def test_viewers_hear_of_changes_and_not_of_a_clock(
    old: dict[str, Any] | None, new: dict[str, Any], told: bool
) -> None:
    assert feed._differs(new, old) is told


def redrawn(body: bytes) -> list[str]:
    return [json.loads(text)["text"] for text in re.findall(rb"^event: partial\ndata: (.*)$", body, re.M)]


class Redrawing:
    """A run whose last line redraws itself, and one viewer."""

    def __init__(self, folder: Path) -> None:
        self.archive, self.tail = Archive(folder), InMemoryLogTail(50)
        self.publisher = Publisher(self.archive, self.tail, 50)
        self.writer = self.archive.writer("a")
        self.status = {"status": "running"}
        self.unfinished: str | None = None
        self.seen = b""
        hub = FeedHub(self.archive, self.tail, self._look, lambda run_id: self.unfinished)
        self._viewer = asyncio.create_task(self._follow(hub))

    async def _look(self, run_id: str) -> dict[str, Any]:
        return dict(self.status)

    async def _follow(self, hub: FeedHub) -> None:
        async for body in hub.events("a", 0):
            self.seen += body

    def line(self, text: bytes) -> None:
        self.writer.append([TimestampedPiece(STAMP, LineKind.LINE, text)])
        self.publisher.wake("a")

    async def until(self, text: bytes) -> None:
        while text not in self.seen:
            await asyncio.sleep(0.005)

    async def end(self) -> bytes:
        self.status["status"] = "completed"
        self.publisher.finish("a")
        await self._viewer
        await self.publisher.stop()
        self.writer.close()
        return self.seen


def played(scenario: Callable[[Redrawing], Awaitable[None]], folder: Path) -> bytes:
    async def play() -> bytes:
        run = Redrawing(folder)
        async with asyncio.timeout(20):
            await scenario(run)
            return await run.end()

    return asyncio.run(play())


def test_a_line_that_redraws_itself_is_shown_before_it_is_finished_and_each_frame_once(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        run.line(b"Starting")
        for frame in ("10 %", "20 %"):
            run.unfinished = frame
            await run.until(frame.encode())
        run.unfinished = None
        run.line(b"\r10 %\r20 %\rdone")
        await run.until(b"data: done\nid: 2")

    seen = played(scenario, tmp_path)
    assert redrawn(seen) == ["10 %", "20 %"]
    assert b"id:" not in seen[seen.index(b"event: partial") : seen.index(b"data: done")]


def test_the_same_frame_of_a_later_line_is_shown_again(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        for number in (1, 2, 3):
            run.unfinished = "0 %"
            while len(redrawn(run.seen)) < number:
                await asyncio.sleep(0.005)
            run.unfinished = None
            run.line(b"\r0 %\r100 %")
            await run.until(b"id: %d\n" % number)

    assert redrawn(played(scenario, tmp_path)) == ["0 %"] * 3


def test_frames_are_shown_about_five_times_a_second_however_fast_lines_come(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        loop = asyncio.get_running_loop()
        until, number = loop.time() + 1.0, 0
        while loop.time() < until:
            number += 1
            run.unfinished = f"frame {number}"
            run.line(b"line")
            await asyncio.sleep(0.001)

    assert 1 <= len(redrawn(played(scenario, tmp_path))) <= 7


def test_a_frame_whose_line_is_not_kept_is_taken_back(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        run.unfinished = "10 %"
        await run.until(b"10 %")
        run.unfinished = None
        await run.until(b'data: {"text": ""}')

    assert redrawn(played(scenario, tmp_path)) == ["10 %", ""]


def test_a_viewer_that_claims_lines_which_are_not_there_takes_none_from_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        archive, tail, status = Archive(tmp_path), InMemoryLogTail(50), "queued"

        async def look(run_id: str) -> dict[str, Any]:
            return {"status": status, "queue": None}

        hub = FeedHub(archive, tail, look)

        async def seen(after: int) -> bytes:
            return b"".join([body async for body in hub.events("a", after)])

        async with asyncio.timeout(20):
            boaster, other = asyncio.create_task(seen(999_999)), asyncio.create_task(seen(0))
            await asyncio.sleep(0)  # both follow
            writer = archive.writer("a")
            writer.append([TimestampedPiece(STAMP, LineKind.LINE, b"one")])
            writer.close()
            status = "completed"
            assert b"data: one\n" in await other
            assert b"event: gap" not in await other
            assert b"event: end" in await boaster

    asyncio.run(scenario())
