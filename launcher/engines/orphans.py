"""Processes that this one inherits when a run kills its shim, and how they are ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator

from launcher.engines import shim

_LOOK_SECONDS = 0.05
_UNKILLABLE_SECONDS = 10.0
log = logging.getLogger(__name__)


class Orphans:
    """The processes that this process inherits when a run kills its shim."""

    def __init__(self) -> None:
        self.adopting = False
        self._shims: set[int] = set()
        self._starting = 0

    def adopt(self) -> None:
        """Inherit orphans from now on. For a process whose only children are shims: all others are killed."""
        if sys.platform == "linux":
            shim.become_subreaper()
            self.adopting = True

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Mark that a shim is being started: its process id is not known yet."""
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def spare(self, pid: int) -> None:
        """Exempt a shim and its descendants."""
        self._shims.add(pid)

    def forget(self, pid: int) -> None:
        """Forget a shim that has ended."""
        self._shims.discard(pid)

    async def end(self, since: int) -> None:
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
                    log.error("Processes of a run cannot be ended: %s", ", ".join(map(str, found)))
                    return
            await asyncio.sleep(_LOOK_SECONDS)


ORPHANS = Orphans()
