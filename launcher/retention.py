"""Retention: runs that ended long ago are deleted from the artifacts, the archive and every store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime

from launcher.background import contained, report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run
from launcher.wiring import Storage

log = logging.getLogger(__name__)


async def forget_before(moment: datetime, runs: Iterable[Run], storage: Storage) -> None:
    """Delete these runs, which ended before the moment, and whatever the stores hold of runs that did.

    Raises `StoreUnavailable` once everything else is done.
    """
    await forget(runs, storage)
    await forget_in_stores(moment, storage)


async def forget(runs: Iterable[Run], storage: Storage) -> list[Run]:
    """Delete artifacts, log and record of each run; return the runs that are gone.

    The record goes last: a run whose artifacts cannot be removed now is found again in the next round.
    """
    return [run for run in runs if await _deleted(run, storage)]


async def forget_in_stores(moment: datetime, storage: Storage) -> None:
    """Delete from every store what ended before the moment. Raises `StoreUnavailable` after the last one."""
    unavailable: StoreUnavailable | None = None
    for mirror in storage.recorder.mirrors:
        try:
            await mirror.store.delete_ended_before(moment)
        except StoreUnavailable as exc:
            unavailable = exc
        except Exception:
            report("retention", f"old runs cannot be deleted from {mirror.name}")
    if unavailable:
        raise unavailable


async def _deleted(run: Run, storage: Storage) -> bool:
    with contained("retention", f"run {run.run_id} cannot be deleted"):
        if await storage.artifacts.delete(run.run_id):
            await asyncio.to_thread(storage.archive.delete, run.run_id)
            return True
        log.warning("run %s: its artifacts are not all deleted yet", run.run_id)
    return False
