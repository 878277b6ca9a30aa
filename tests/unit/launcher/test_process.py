"""The output of a pipeline's processes: it is read to the end."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import pytest

from launcher.engines import process
from launcher.engines.marks import marks_of
from launcher.engines.process import PipelineProcess


def test_output_is_read_to_its_end_although_its_taker_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_DRAIN_STEP_SECONDS", 0.001)
    monkeypatch.setattr(process, "_READ_BYTES", 1)
    taken = []

    async def take(chunk: bytes) -> None:
        await asyncio.sleep(0.05)  # a slow disk
        taken.append(chunk)

    async def play() -> None:
        pipeline = PipelineProcess(marks_of(secrets.token_hex(8), tmp_path), take, 0.2)
        async with asyncio.timeout(10):
            await pipeline.start(["printf", "123"], tmp_path, {})
            assert await pipeline.wait() == 0
            await pipeline.stop()
            await pipeline.drain()

    asyncio.run(play())
    assert b"".join(taken) == b"123"


def test_an_output_that_stays_open_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_DRAIN_STEP_SECONDS", 0.001)
    taken = []

    async def take(chunk: bytes) -> None:
        taken.append(chunk)

    async def play() -> None:
        pipeline = PipelineProcess(marks_of(secrets.token_hex(8), tmp_path), take, 0.2)
        async with asyncio.timeout(10):
            await pipeline.start(["sh", "-c", "printf 123; exec sleep 60"], tmp_path, {"PATH": os.environ["PATH"]})
            while not taken:
                await asyncio.sleep(0.001)
            await pipeline.drain()
            await pipeline.stop()

    asyncio.run(play())
    assert taken == [b"123"]
