"""Lines that redraw themselves: each frame is sent once, about five times a second."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from launcher.domain.log_lines import LineKind, TimestampedPiece
from launcher.logs.hub import FeedHub
from launcher.logs.publisher import Publisher
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryLogTail
from launching.log_lines import STAMP


def partial_texts(body: bytes) -> list[str]:
    return [json.loads(text)["text"] for text in re.findall(rb"^event: partial\ndata: (.*)$", body, re.M)]


class Redrawing:
    """A run whose last line redraws itself, and one viewer."""

    def __init__(self, folder: Path) -> None:
        self.archive, self.tail = Archive(folder), InMemoryLogTail(50)
        self.publisher = Publisher(self.archive, self.tail, 50)
        self.writer = self.archive.writer("a")
        self.status = {"status": "running"}
        self.partial_line: str | None = None
        self.received = b""
        hub = FeedHub(self.archive, self.tail, self._read_status, lambda run_id: self.partial_line)
        self._viewer = asyncio.create_task(self._follow(hub))

    async def _read_status(self, run_id: str) -> dict[str, Any]:
        return dict(self.status)

    async def _follow(self, hub: FeedHub) -> None:
        async for body in hub.events("a", 0):
            self.received += body

    def line(self, text: bytes) -> None:
        self.writer.append([TimestampedPiece(STAMP, LineKind.LINE, text)])
        self.publisher.wake("a")

    async def until(self, text: bytes) -> None:
        while text not in self.received:
            await asyncio.sleep(0.005)

    async def end(self) -> bytes:
        self.status["status"] = "completed"
        self.publisher.finish("a")
        await self._viewer
        await self.publisher.stop()
        self.writer.close()
        return self.received


def stream_of(scenario: Callable[[Redrawing], Awaitable[None]], folder: Path) -> bytes:
    async def play() -> bytes:
        run = Redrawing(folder)
        async with asyncio.timeout(20):
            await scenario(run)
            return await run.end()

    return asyncio.run(play())


def test_each_frame_of_an_unfinished_line_is_shown_once(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        run.line(b"Starting")
        for frame in ("10 %", "20 %"):
            run.partial_line = frame
            await run.until(frame.encode())
        run.partial_line = None
        run.line(b"\r10 %\r20 %\rdone")
        await run.until(b"data: done\nid: 2")

    received = stream_of(scenario, tmp_path)
    assert partial_texts(received) == ["10 %", "20 %"]
    assert b"id:" not in received[received.index(b"event: partial") : received.index(b"data: done")]


def test_the_same_frame_of_a_later_line_is_shown_again(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        for number in (1, 2, 3):
            run.partial_line = "0 %"
            while len(partial_texts(run.received)) < number:
                await asyncio.sleep(0.005)
            run.partial_line = None
            run.line(b"\r0 %\r100 %")
            await run.until(b"id: %d\n" % number)

    assert partial_texts(stream_of(scenario, tmp_path)) == ["0 %"] * 3


def test_frames_are_shown_about_five_times_a_second_however_fast_lines_arrive(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        loop = asyncio.get_running_loop()
        until, number = loop.time() + 1.0, 0
        while loop.time() < until:
            number += 1
            run.partial_line = f"frame {number}"
            run.line(b"line")
            await asyncio.sleep(0.001)

    assert 1 <= len(partial_texts(stream_of(scenario, tmp_path))) <= 7


def test_a_frame_whose_line_is_dropped_is_removed(tmp_path: Path) -> None:
    async def scenario(run: Redrawing) -> None:
        run.partial_line = "10 %"
        await run.until(b"10 %")
        run.partial_line = None
        await run.until(b'data: {"text": ""}')

    assert partial_texts(stream_of(scenario, tmp_path)) == ["10 %", ""]
