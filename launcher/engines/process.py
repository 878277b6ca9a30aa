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
_DRAIN_SECONDS = 2.0  # for output that is still in the pipe when all processes have exited
_SET_PIPE_SIZE = 1031  # Linux's F_SETPIPE_SZ, in case fcntl does not define it


class PipelineProcess:
    """The processes of one run. Call `start`, then `wait`, `stop` and `drain`. `stop` can also be called earlier."""

    def __init__(
        self, marks: Mapping[str, str], on_output: Callable[[bytes], Awaitable[None]], grace_seconds: float
    ) -> None:
        self._run_id, self._on_output = marks["SLIPWAY_RUN_ID"], on_output
        self._child = child(marks, grace_seconds)
        self._reader: asyncio.Task[None] | None = None
        self._bytes_read = 0

    async def start(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        """Start the command. Raises `OSError` if it cannot be started."""
        read_end, write_end = os.pipe()
        with contextlib.suppress(OSError):  # the user's pipe quota is exceeded; the default size works too
            fcntl.fcntl(read_end, getattr(fcntl, "F_SETPIPE_SZ", _SET_PIPE_SIZE), _PIPE_BYTES)
        try:
            await self._child.start(command, directory, {**environment, "PYTHONUNBUFFERED": "1"}, write_end)
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
        """Wait until all output has been read."""
        assert self._reader is not None
        before = -1
        while not self._reader.done() and before != self._bytes_read:  # while more output arrives
            before = self._bytes_read
            await asyncio.wait([self._reader], timeout=_DRAIN_SECONDS)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=_PIPE_BYTES)
        file = os.fdopen(read_end, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        try:
            while chunk := await reader.read(_READ_BYTES):
                await self._on_output(chunk)
                self._bytes_read += len(chunk)
                await asyncio.sleep(0)  # output of one pipeline must not delay the others
        finally:
            transport.close()
