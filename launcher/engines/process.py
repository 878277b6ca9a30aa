"""The processes of one run: starts them, reads their output and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from launcher.engines.children import child

_PIPE_BYTES = 1 << 20
_READ_BYTES = 128 << 10  # at a time: splitting a mebibyte of empty lines would block the event loop for too long
_DRAIN_STEP_SECONDS, _DRAIN_STEPS = 0.1, 20  # for output that is still in the pipe
_SET_PIPE_SIZE = 1031  # Linux's F_SETPIPE_SZ, in case fcntl does not define it


class PipelineProcess:
    """The processes of one run. Call `start`, then `wait`, `stop` and `drain`. `stop` can also be called earlier."""

    def __init__(
        self, marks: Mapping[str, str], on_output: Callable[[bytes], Awaitable[None]], grace_seconds: float
    ) -> None:
        self._run_id, self._on_output = marks["SLIPWAY_RUN_ID"], on_output
        self._child = child(marks, grace_seconds)
        self._reader: asyncio.Task[None] | None = None
        self._chunks = 0
        self._waiting = False
        """Whether there is no output to read."""

    async def start(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        """Start the command. Raises `OSError` if it cannot be started."""
        read_end, write_end = os.pipe()
        with contextlib.suppress(OSError):  # the user's pipe quota is exceeded; the default size works too
            fcntl.fcntl(read_end, getattr(fcntl, "F_SETPIPE_SZ", _SET_PIPE_SIZE), _PIPE_BYTES)
        try:
            await self._child.start(command, directory, environment, write_end)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._reader = asyncio.create_task(self._read(read_end), name=f"output {self._run_id}")

    async def wait(self) -> int:
        """Return the exit code of the pipeline itself, negative for a signal."""
        return await self._child.wait()

    async def stop(self) -> None:
        """Stop every process of the run: SIGTERM, the grace period, SIGKILL. Returns when none is left."""
        await self._child.stop()

    async def drain(self) -> None:
        """Wait until all output has been handled. Give up if no more arrives while the pipe stays open.

        It checks several times, because on an overloaded machine a single pause does not mean that there is no output.
        """
        assert self._reader is not None
        idle = 0
        while not self._reader.done() and idle < _DRAIN_STEPS:
            chunks = self._chunks
            await asyncio.wait([self._reader], timeout=_DRAIN_STEP_SECONDS)
            idle = idle + 1 if self._waiting and self._chunks == chunks else 0
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=_PIPE_BYTES)
        file = os.fdopen(read_end, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        try:
            self._waiting = True
            while chunk := await reader.read(_READ_BYTES):
                self._waiting, self._chunks = False, self._chunks + 1
                await self._on_output(chunk)
                await asyncio.sleep(0)  # output of one pipeline must not delay the others
                self._waiting = True
        finally:
            transport.close()
