"""Health and liveness: what /health reports and /livez checks, in bounded time whatever hangs.

Checks that can hang run in the background, at most one of each kind. A request waits briefly for fresh results, then
uses the last known ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread

from launcher.api.threads import DaemonThreads
from launcher.domain import health_problems
from launcher.engines.port import Engine, QueueState
from launcher.logs.sink import lost_lines
from launcher.recorder import Recorder
from launcher.stores.archive import Archive
from launcher.stores.watch import StoreWatch
from launcher.version import VERSION

ArchiveState = Literal["ok", "full", "unreadable"]
HEALTH_WAIT_SECONDS = 0.05
"""The longest time that /health waits for fresh results. It does nothing else that can block."""
_FRESH_SECONDS = 2.0  # for which a check of the archive is valid
_DISK_SECONDS = 1.0  # within which a disk must answer
_POOL_SECONDS = 2.0  # within which the default pools must have a free thread
_LOST_SECONDS = 300.0  # for which lost lines degrade the service
_MIN_FREE_BYTES = 1 << 20
log = logging.getLogger(__name__)


def archive_state(folder: Path) -> ArchiveState:
    """Check the archive's disk. Can hang."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
        disk = os.statvfs(folder)
    except OSError:
        return "unreadable"
    full = disk.f_bavail * disk.f_frsize < _MIN_FREE_BYTES or (disk.f_files > 0 and disk.f_favail == 0)
    return "full" if full else "ok"


class HealthCheck:
    """Checks the service and reports its health."""

    def __init__(
        self,
        engine: Engine,
        archive: Archive,
        watches: Mapping[str, StoreWatch],
        recorder: Recorder | None,
        archive_dir: Path,
        check_archive: Callable[[Path], ArchiveState] = archive_state,
    ) -> None:
        self._engine, self._archive, self._watches, self._recorder = engine, archive, watches, recorder
        self._archive_dir, self._archive_state = archive_dir, check_archive
        self._threads = DaemonThreads("archive check", 1)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._disk: ArchiveState = "ok"
        self._archive_checked_at = float("-inf")
        self._lost, self._lost_at = 0, float("-inf")

    async def stop(self) -> None:
        """Cancel the checks that are under way."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def liveness_problem(self) -> str | None:
        """Return why this process must be restarted; None if it need not. Other services do not matter here."""
        probe = self._start_once("pools", self._probe_thread_pools)
        await asyncio.wait([probe], timeout=_POOL_SECONDS)
        if not probe.done():
            return f"No thread was free for {_POOL_SECONDS:g} seconds, so requests hang."
        try:
            self._engine.cached_queue()
        except Exception:
            log.exception("the engine failed")
            return health_problems.ENGINE_FAILED
        return None

    async def queue(self, seconds: float) -> QueueState:
        """Return the queue's state: a fresh one if it arrives in time, else the last known one."""
        await asyncio.wait([self._start_once("queue", self._refresh_queue)], timeout=seconds)
        return self._engine.cached_queue()

    async def report(self) -> dict[str, Any]:
        """Return the body of /health."""
        now = asyncio.get_running_loop().time()
        checks = [self._start_once("queue", self._refresh_queue)]
        if now - self._archive_checked_at > _FRESH_SECONDS:
            checks.append(self._start_once("archive", self._check_archive))
        await asyncio.wait(checks, timeout=HEALTH_WAIT_SECONDS)
        queue, lost = self._engine.cached_queue(), lost_lines()
        if lost > self._lost:
            self._lost, self._lost_at = lost, now
        stores = dict.fromkeys(("redis", "mongodb"), "off")
        for name, watch in self._watches.items():
            stores[name] = {True: "ok", False: "away", None: "connecting"}[watch.up]
        problems = [text for name, text in health_problems.STORE_DOWN.items() if stores[name] == "away"]
        if queue.cluster == "away":
            problems.append(health_problems.KUBERNETES_DOWN)
        if queue.operator == "away":
            problems.append(health_problems.OPERATOR_DOWN)
        if self._disk != "ok":
            problems.append(health_problems.ARCHIVE[self._disk])
        if unreadable := len(self._archive.unreadable):
            problems.append(health_problems.unreadable_records(unreadable))
        if now - self._lost_at < _LOST_SECONDS:
            problems.append(health_problems.lost_lines(lost))
        return {
            "status": "degraded" if problems else "healthy",
            "problems": problems,
            "active_runs": queue.active,
            "max_concurrency": queue.limit,
            "queued": queue.queued,
            "paused": queue.paused,
            **stores,
            "records_owed": self._recorder.backlog if self._recorder else 0,
            "archive": self._disk,
            "lost_lines": lost,
            "version": VERSION,
            "kubernetes": queue.cluster,
            "operator": queue.operator,
        }

    def _start_once(self, name: str, check: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Return the check of this name that is under way, or start it."""
        task = self._tasks.get(name)
        if task is None or task.done():

            async def run_check() -> None:
                try:
                    await check()
                except Exception:
                    log.exception("health: %s", name)

            task = self._tasks[name] = asyncio.create_task(run_check(), name=f"health: {name}")
        return task

    async def _refresh_queue(self) -> None:
        await self._engine.queue()

    async def _check_archive(self) -> None:
        try:
            self._disk = await self._threads.run(lambda: self._archive_state(self._archive_dir), seconds=_DISK_SECONDS)
        except TimeoutError:
            self._disk = "unreadable"
        self._archive_checked_at = asyncio.get_running_loop().time()

    async def _probe_thread_pools(self) -> None:
        await asyncio.gather(asyncio.to_thread(_no_op), anyio.to_thread.run_sync(_no_op))


def _no_op() -> None:
    """Occupy a thread for a moment."""
