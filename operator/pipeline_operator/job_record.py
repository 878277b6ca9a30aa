"""The record on the Job: the last write of a run, after which Kubernetes may delete the Job."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from launcher.background import report
from launcher.domain.errors import ClusterUnavailable, ObjectChanged, ObjectMissing
from launcher.domain.runs import Run, now
from launcher.wiring import Storage
from pipeline_operator import backoff
from pipeline_operator.run_objects import RunObjects

_MAX_WAIT = timedelta(days=1)  # a store that is down for longer no longer delays the record
log = logging.getLogger(__name__)


async def write_job_record(run: Run, objects: RunObjects, storage: Storage, ttl_seconds: int) -> None:
    """Write a finished run's record to its Job once every store has it.

    After several unexpected exceptions the next reconciliation starts over.
    """
    await _wait_for_stores(run, storage)
    faults = 0
    while faults < backoff.MAX_FAULTS:
        try:
            await objects.write_record(run, ttl_seconds)
            return
        except ObjectMissing:
            return
        except (ClusterUnavailable, ObjectChanged) as exc:
            log.info("run %s: %s", run.run_id, exc)
            await asyncio.sleep(backoff.RETRY_SECONDS)
        except Exception:
            report("supervise", f"run {run.run_id}: its record cannot be written to its Job")
            faults += 1
            await asyncio.sleep(backoff.backoff_seconds(faults))


async def _wait_for_stores(run: Run, storage: Storage) -> None:
    completed_at = run.completed_at or now()
    while storage.recorder.pending(run.run_id) or storage.publisher.pending(run.run_id):
        waited = now() - completed_at
        if waited >= _MAX_WAIT:
            return
        await asyncio.sleep(min(1.0, 0.02 + waited.total_seconds() / 10))
