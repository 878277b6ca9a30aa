"""Retention: deletes old runs from the artifacts, the archive and every store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime

from launcher.background import report_exception, suppress_and_report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run
from launcher.wiring import Storage

log = logging.getLogger(__name__)


async def delete_before(moment: datetime, runs: Iterable[Run], storage: Storage) -> None:
    """Delete these runs, which finished before the moment, and all such runs from the stores.

    Raises `StoreUnavailable` after everything else is done.
    """
    await delete_runs(runs, storage)
    await delete_from_stores(moment, storage)


async def delete_runs(runs: Iterable[Run], storage: Storage) -> list[Run]:
    """Delete each run's artifacts, log and record; return the runs that were deleted.

    The record is deleted last, so that a run whose artifacts cannot be deleted is tried again in the next round.
    """
    return [run for run in runs if await _deleted(run, storage)]


async def delete_from_stores(moment: datetime, storage: Storage) -> None:
    """Delete the runs that finished before the moment from every store, then raise any `StoreUnavailable`."""
    unavailable: StoreUnavailable | None = None
    for watch in storage.watches.values():
        try:
            await watch.store.delete_finished_before(moment)
        except StoreUnavailable as exc:
            unavailable = exc
        except Exception:
            report_exception("retention", f"cannot delete old runs from {watch.name}")
    if unavailable:
        raise unavailable


async def _deleted(run: Run, storage: Storage) -> bool:
    with suppress_and_report("retention", f"run {run.run_id}: cannot delete it"):
        if await storage.artifacts.delete(run.run_id):
            await asyncio.to_thread(storage.archive.delete, run.run_id)
            return True
        log.warning("run %s: some of its artifacts are not deleted yet", run.run_id)
    return False
