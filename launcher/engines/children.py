"""A pipeline as a child process of the launcher: below a shim on Linux, in a process group elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from launcher.engines import shim
from launcher.engines.marks import end_leftovers, processes_of, send
from launcher.engines.orphans import ORPHANS, Orphans

_LOOK_SECONDS = 0.05
_RESUME_SECONDS = 1.0
_STUCK_SECONDS = 5.0
"""How long after the grace period a shim may take to end its run. A slower one was stopped, or is overloaded."""
log = logging.getLogger(__name__)


class Child(Protocol):
    """A pipeline's processes. `start`, then `wait`; `end` at any time between."""

    async def start(self, command: Sequence[str], directory: Path, environment: Mapping[str, str], output: int) -> None:
        """Start the command, with stdout and stderr going to `output`. Raises `OSError` if it cannot be started."""

    async def wait(self) -> int:
        """Return the exit code of the pipeline itself, negative for a signal."""

    async def end(self) -> None:
        """End every process of the run: SIGTERM, the grace period, SIGKILL. When it returns, none is left."""


def child(marks: Mapping[str, str], grace_seconds: float) -> Child:
    """Return the kind of child that this system supports."""
    if sys.platform == "linux":
        return ShimmedChild(marks, grace_seconds)
    return GroupChild(marks, grace_seconds)


class ShimmedChild:
    """A pipeline below a shim, which no process of the run outlives. See `shim`."""

    def __init__(self, marks: Mapping[str, str], grace_seconds: float, orphans: Orphans = ORPHANS) -> None:
        self._marks, self._grace_seconds, self._orphans = marks, grace_seconds, orphans
        self._since = 0
        self._shim: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self, command: Sequence[str], directory: Path, environment: Mapping[str, str], output: int) -> None:
        """See `Child`."""
        self._since = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        ours, theirs = socket.socketpair()  # no pipe: one could be opened by the run, in the /proc of the shim
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        with theirs, self._orphans.starting():
            try:
                self._shim = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", shim.__file__),
                    *(str(theirs.fileno()), str(os.getpid()), str(self._grace_seconds)),
                    *(f"{name}={value}" for name, value in self._marks.items()),
                    *("--", *command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    pass_fds=(theirs.fileno(),),
                    cwd=directory,
                    env=environment,
                    start_new_session=True,
                )
            except BaseException:
                self._writer.close()
                raise
            self._orphans.spare(self._shim.pid)
        word, _, number = (await self._report()).partition(b" ")
        if word == b"errno":
            await self.end()
            raise OSError(int(number), os.strerror(int(number)))

    async def wait(self) -> int:
        """See `Child`."""
        word, _, number = (await self._report()).partition(b" ")
        return int(number) if word == b"exited" else -signal.SIGKILL  # the run killed its shim; `end` kills the rest

    async def end(self) -> None:
        """See `Child`."""
        assert self._shim is not None and self._writer is not None
        self._resume()
        with contextlib.suppress(ProcessLookupError):
            self._shim.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._shim.wait(), self._grace_seconds + _STUCK_SECONDS)
        except TimeoutError:
            log.warning("The shim of run %s is stuck; the launcher ends the run itself", self._marks["SLIPWAY_RUN_ID"])
            with contextlib.suppress(ProcessLookupError):
                self._shim.kill()
        if await self._shim.wait() != 0:
            await self._orphans.end(self._since)
            await end_leftovers(self._marks)
        self._orphans.forget(self._shim.pid)
        self._writer.close()

    async def _report(self) -> bytes:
        """Return the shim's next line; empty if it was killed. Its run can stop it, but not for long."""
        assert self._reader is not None
        line = asyncio.ensure_future(self._reader.readline())
        try:
            while not line.done():
                await asyncio.wait([line], timeout=_RESUME_SECONDS)
                self._resume()
            return line.result()
        finally:
            line.cancel()

    def _resume(self) -> None:
        """Resume the shim: its run may have stopped it."""
        assert self._shim is not None
        with contextlib.suppress(ProcessLookupError):
            self._shim.send_signal(signal.SIGCONT)


class GroupChild:
    """A pipeline that leads a process group; what leaves the group is found by its marks."""

    def __init__(self, marks: Mapping[str, str], grace_seconds: float) -> None:
        self._marks, self._grace_seconds = marks, grace_seconds
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, command: Sequence[str], directory: Path, environment: Mapping[str, str], output: int) -> None:
        """See `Child`."""
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env={**environment, **self._marks},
            start_new_session=True,
        )

    async def wait(self) -> int:
        """See `Child`."""
        assert self._process is not None
        return await self._process.wait()

    async def end(self) -> None:
        """See `Child`."""
        assert self._process is not None
        group = self._process.pid  # it leads its own session, hence its own group
        send(signal.SIGTERM, processes_of(self._marks, group))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_seconds
        while loop.time() < deadline and processes_of(self._marks, group):
            await asyncio.sleep(_LOOK_SECONDS)
        while found := processes_of(self._marks, group):  # again: one may have started another meanwhile
            send(signal.SIGKILL, found)
            await asyncio.sleep(_LOOK_SECONDS)
