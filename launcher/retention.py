"""Retention: what ended long ago is forgotten everywhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime

from launcher.background import contained
from launcher.domain.runs import Run
from launcher.wiring import Storage

log = logging.getLogger(__name__)


async def forget_before(moment: datetime, runs: Iterable[Run], storage: Storage) -> list[Run]:
    """Forget these runs, which ended before the moment: artifacts, log, record, and what the stores have.

    The record goes last: a run whose artifacts cannot be removed now is returned, and is still there for the next time.
    """
    left = [run for run in runs if not await _forgotten(run, storage)]
    for mirror in storage.recorder.mirrors:
        await mirror.store.delete_ended_before(moment)
    return left


async def _forgotten(run: Run, storage: Storage) -> bool:
    with contained("retention", f"run {run.run_id} cannot be deleted"):
        if await storage.artifacts.delete(run.run_id):
            await asyncio.to_thread(storage.archive.delete, run.run_id)
            return True
        log.warning("run %s: its artifacts are not all deleted yet", run.run_id)
    return False
