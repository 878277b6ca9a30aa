"""A pipeline's processes: their output as it arrives, and how all of them are ended."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from launcher.engines.children import child

_PIPE_BYTES = 1 << 20
_TAKEN_BYTES = 128 << 10  # at a time: splitting a mebibyte of empty lines would hold the event loop for too long
_DRAIN_STEP_SECONDS, _DRAIN_STEPS = 0.1, 20  # for output still in the pipe when every process is gone
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, Linux; named in fcntl


class PipelineProcess:
    """One pipeline's processes. `start`, then `wait`; `end` at any time between."""

    def __init__(
        self, marks: Mapping[str, str], take: Callable[[bytes], Awaitable[None]], grace_seconds: float
    ) -> None:
        self._run_id, self._take = marks["SLIPWAY_RUN_ID"], take
        self._child = child(marks, grace_seconds)
        self._pump: asyncio.Task[None] | None = None
        self._chunks = 0
        self._waiting = False
        """Whether there is no output to read."""

    async def start(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        """Start the command. Raises `OSError` if it cannot be started."""
        read_end, write_end = os.pipe()
        with contextlib.suppress(OSError):  # over the user's pipe quota; the default size works too
            fcntl.fcntl(read_end, getattr(fcntl, "F_SETPIPE_SZ", _SET_PIPE_SIZE), _PIPE_BYTES)
        try:
            await self._child.start(command, directory, {**environment, "PYTHONUNBUFFERED": "1"}, write_end)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._pump = asyncio.create_task(self._read(read_end), name=f"output {self._run_id}")

    async def wait(self) -> int:
        """Return the exit code of the pipeline itself, negative for a signal."""
        return await self._child.wait()

    async def end(self) -> None:
        """End every process of the run: SIGTERM, the grace period, SIGKILL. When it returns, none is left."""
        await self._child.end()

    async def drained(self) -> None:
        """Wait until all output has been taken, however slowly; give up if no more arrives and the pipe stays open.

        It looks several times: to a process that got no CPU time meanwhile, a single pause says nothing.
        """
        assert self._pump is not None
        idle = 0
        while not self._pump.done() and idle < _DRAIN_STEPS:
            chunks = self._chunks
            await asyncio.wait([self._pump], timeout=_DRAIN_STEP_SECONDS)
            idle = idle + 1 if self._waiting and self._chunks == chunks else 0
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def _read(self, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=_PIPE_BYTES)
        file = os.fdopen(read_end, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        try:
            self._waiting = True
            while chunk := await reader.read(_TAKEN_BYTES):
                self._waiting, self._chunks = False, self._chunks + 1
                await self._take(chunk)
                await asyncio.sleep(0)  # a chatty pipeline must not keep the others waiting
                self._waiting = True
        finally:
            transport.close()
