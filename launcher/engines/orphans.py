"""Adopts and kills the processes of runs that killed their shim."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator

from launcher.engines import shim

_POLL_SECONDS = 0.05
_UNKILLABLE_SECONDS = 10.0
log = logging.getLogger(__name__)


class Orphans:
    """The processes that this process inherits when a run kills its shim."""

    def __init__(self) -> None:
        self.adopting = False
        self._shims: set[int] = set()
        self._starting = 0

    def adopt(self) -> None:
        """Start to inherit orphans. All children other than shims are killed, so the process must not have any."""
        if sys.platform == "linux":
            shim.become_subreaper()
            self.adopting = True

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Kill nothing while a shim is being started, because its process id cannot be exempted yet."""
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def exempt(self, pid: int) -> None:
        """Never kill this shim and its descendants."""
        self._shims.add(pid)

    def forget(self, pid: int) -> None:
        """Remove a shim that has exited."""
        self._shims.discard(pid)

    async def kill(self, since: int) -> None:
        """Kill the orphans that started at `since` or later."""
        deadline = time.monotonic() + _UNKILLABLE_SECONDS
        while self.adopting:
            if not self._starting:
                found = shim.kill_descendants(os.getpid(), self._shims, since)
                for pid in found:
                    with contextlib.suppress(ChildProcessError):  # another orphan's child
                        os.waitpid(pid, os.WNOHANG)
                if not found:
                    return
                if time.monotonic() > deadline:
                    log.error("cannot kill orphaned processes: %s", ", ".join(map(str, found)))
                    return
            await asyncio.sleep(_POLL_SECONDS)


ORPHANS = Orphans()
