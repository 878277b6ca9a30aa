"""How the service is: what /health shows and what /livez asks, each within a moment, whatever hangs meanwhile.

Checks that may take long run in the background, one of each kind at a time; a principal waits a moment for them
and takes the last answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread

from launcher.api.threads import DaemonThreads
from launcher.engines.port import Engine, QueueState
from launcher.logs.sink import lost_lines
from launcher.recorder import Recorder

VERSION = version("slipway")
ArchiveState = Literal["ok", "full", "unreadable"]
_MOMENT_SECONDS = 0.05  # that /health waits for fresh answers
_FRESH_SECONDS = 2.0  # for which a look at the archive counts
_DISK_SECONDS = 1.0  # in which a disk answers
_POOL_SECONDS = 2.0  # in which a thread of the default pools is to be had
_LOST_SECONDS = 300.0  # for which lost lines degrade the service
_ROOM_BYTES = 1 << 20
_STORES_AWAY = {
    "redis": "Redis does not answer. Runs and logs continue from the archive; Redis is updated when it returns.",
    "mongodb": "MongoDB does not answer. Runs continue; their records are written when it returns.",
}
_ARCHIVE_PROBLEMS = {
    "full": "The archive's disk is full: log lines and records are not kept. Free some space (RETENTION_DAYS).",
    "unreadable": "The archive cannot be read. Check the disk of ARCHIVE_DIR.",
}
log = logging.getLogger(__name__)


def archive_state(folder: Path) -> ArchiveState:
    """Look at the archive's disk; it may hang."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
        disk = os.statvfs(folder)
    except OSError:
        return "unreadable"
    full = disk.f_bavail * disk.f_frsize < _ROOM_BYTES or (disk.f_files > 0 and disk.f_favail == 0)
    return "full" if full else "ok"


class HealthCheck:
    """Knows how the service is."""

    def __init__(
        self,
        engine: Engine,
        recorder: Recorder,
        archive_dir: Path,
        look: Callable[[Path], ArchiveState] = archive_state,
    ) -> None:
        self._engine, self._recorder = engine, recorder
        self._archive_dir, self._look = archive_dir, look
        self._threads = DaemonThreads("archive check", 1)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._archive: ArchiveState = "ok"
        self._archive_at = float("-inf")
        self._lost, self._lost_at = 0, float("-inf")

    async def stop(self) -> None:
        """Wait for no look any more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def fault(self) -> str | None:
        """Return why this process cannot answer its calls; None where it can. What is away outside is no reason."""
        probe = self._once("pools", self._try_pools)
        await asyncio.wait([probe], timeout=_POOL_SECONDS)
        if not probe.done():
            return f"No thread was free for {_POOL_SECONDS:g} seconds: calls hang."
        try:
            self._engine.known()
        except Exception:
            log.exception("the engine does not answer")
            return "The engine does not answer."
        return None

    async def queue(self, seconds: float = _MOMENT_SECONDS) -> QueueState:
        """Return the queue's state: fresh where that takes no longer than this, else as it was last known."""
        await asyncio.wait([self._once("queue", self._ask_engine)], timeout=seconds)
        return self._engine.known()

    async def document(self) -> dict[str, Any]:
        """Return what /health shows."""
        now = asyncio.get_running_loop().time()
        looks = [self._once("queue", self._ask_engine)]
        if now - self._archive_at > _FRESH_SECONDS:
            looks.append(self._once("archive", self._look_at_archive))
        await asyncio.wait(looks, timeout=_MOMENT_SECONDS)
        queue, lost = self._engine.known(), lost_lines()
        if lost > self._lost:
            self._lost, self._lost_at = lost, now
        stores = dict.fromkeys(("redis", "mongodb"), "off")
        for mirror in self._recorder.mirrors:
            stores[mirror.name] = {True: "ok", False: "away", None: "connecting"}[mirror.up]
        problems = [text for name, text in _STORES_AWAY.items() if stores[name] == "away"]
        if queue.cluster == "away":
            problems.append("Kubernetes does not answer. Runs continue; new ones are refused until it returns.")
        if queue.operator == "away":
            problems.append("The operator does not answer. Runs continue; no new ones start until it returns.")
        if self._archive != "ok":
            problems.append(_ARCHIVE_PROBLEMS[self._archive])
        if unreadable := self._recorder.unreadable:
            problems.append(f"The records of {unreadable} runs cannot be read; the log of this service names them.")
        if now - self._lost_at < _LOST_SECONDS:
            problems.append(f"The disk refused log lines, {lost} since the launcher started. Free some space.")
        return {
            "status": "degraded" if problems else "healthy",
            "problems": problems,
            "active_runs": queue.active,
            "max_concurrency": queue.limit,
            "queued": queue.queued,
            "paused": queue.paused,
            **stores,
            "records_owed": sum(mirror.backlog for mirror in self._recorder.mirrors),
            "archive": self._archive,
            "lost_lines": lost,
            "version": VERSION,
            "kubernetes": queue.cluster,
            "operator": queue.operator,
        }

    def _once(self, name: str, look: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Return the look of this name that is under way, or begin one."""
        task = self._tasks.get(name)
        if task is None or task.done():

            async def contained() -> None:
                try:
                    await look()
                except Exception:
                    log.exception("health: %s", name)

            task = self._tasks[name] = asyncio.create_task(contained(), name=f"health: {name}")
        return task

    async def _ask_engine(self) -> None:
        await self._engine.queue()

    async def _look_at_archive(self) -> None:
        try:
            self._archive = await self._threads.run(lambda: self._look(self._archive_dir), seconds=_DISK_SECONDS)
        except TimeoutError:
            self._archive = "unreadable"
        self._archive_at = asyncio.get_running_loop().time()

    async def _try_pools(self) -> None:
        await asyncio.gather(asyncio.to_thread(_nothing), anyio.to_thread.run_sync(_nothing))


def _nothing() -> None:
    """Take a thread and give it back."""
