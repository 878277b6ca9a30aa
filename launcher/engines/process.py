"""A pipeline as a child process: a group of its own, its output as it comes, and its end with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

_PIPE_BYTES = 1 << 20
_DRAIN_SECONDS = 2.0  # for output still in the pipe when every process is gone
_LOOK_SECONDS = 0.05
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, Linux; named in fcntl


def marks_of(run_id: str, archive: Path) -> dict[str, str]:
    """Return the environment variables by which a run's processes are known.

    The archive is one of them, as the same Idempotency-Key gives runs of two launchers the same name.
    """
    return {"SLIPWAY_RUN_ID": run_id, "SLIPWAY_ARCHIVE": str(archive.resolve())}


class PipelineProcess:
    """One pipeline's processes. `start`, then `wait`; `end` at any time between."""

    def __init__(self, marks: Mapping[str, str], take: Callable[[bytes], None]) -> None:
        self._marks, self._take = marks, take
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None

    async def start(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        """Start the command. Raises `OSError` where it cannot be started."""
        read_end, write_end = os.pipe()
        with contextlib.suppress(OSError):  # over the user's pipe quota: the default size does as well
            fcntl.fcntl(read_end, getattr(fcntl, "F_SETPIPE_SZ", _SET_PIPE_SIZE), _PIPE_BYTES)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                cwd=directory,
                env={**environment, **self._marks, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._pump = asyncio.create_task(self._read(read_end), name=f"output {self._marks['SLIPWAY_RUN_ID']}")

    async def wait(self) -> int:
        """Return the exit code of the pipeline itself, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    async def end(self, grace_seconds: float) -> None:
        """End all that belongs to the run: SIGTERM, the grace, SIGKILL. When it returns nothing runs any more."""
        _signal_all(self._marks, signal.SIGTERM, self._group)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        while loop.time() < deadline and processes_of(self._marks, self._group):
            await asyncio.sleep(_LOOK_SECONDS)
        while _signal_all(self._marks, signal.SIGKILL, self._group):  # again: one may have started another meanwhile
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def _group(self) -> int | None:
        return self._process.pid if self._process else None  # it leads its own session, hence its own group

    async def drained(self) -> None:
        """Wait until all output has been taken."""
        assert self._pump is not None
        await asyncio.wait([self._pump], timeout=_DRAIN_SECONDS)
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def _read(self, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=_PIPE_BYTES)
        file = os.fdopen(read_end, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        try:
            while chunk := await reader.read(_PIPE_BYTES):
                self._take(chunk)
                await asyncio.sleep(0)  # a chatty pipeline must not keep the others waiting
        finally:
            transport.close()


def processes_of(marks: Mapping[str, str], group: int | None = None) -> list[psutil.Process]:
    """Return every living process of a run: of its group, or with the run's marks in its environment.

    The marks find what left the group (a daemon), the group what dropped its environment.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getpgid(process.pid) == group or marks.items() <= process.environ().items():
                found.append(process)
    return found


async def end_leftovers(marks: Mapping[str, str]) -> None:
    """Kill what a lost launcher left running."""
    while _signal_all(marks, signal.SIGKILL):
        await asyncio.sleep(_LOOK_SECONDS)


def _signal_all(marks: Mapping[str, str], number: signal.Signals, group: int | None = None) -> int:
    found = processes_of(marks, group)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
    return len(found)
