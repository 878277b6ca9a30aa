"""Writes the final record to a run's Job. It is the last write; then Kubernetes may delete the Job."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from launcher.background import report_exception
from launcher.domain.errors import ClusterUnavailable, ObjectChanged
from launcher.domain.runs import Run, now
from launcher.wiring import Recording
from pipeline_operator import backoff
from pipeline_operator.run_objects import RunObjects

_MAX_WAIT = timedelta(days=1)  # a store that is down for longer does not delay the record
log = logging.getLogger(__name__)


async def write_job_record(run: Run, objects: RunObjects, recording: Recording, ttl_seconds: int) -> None:
    """Write a finished run's record to its Job, after every store has it.

    Gives up after several unexpected exceptions; the next resync tries again.
    """
    await _wait_for_stores(run, recording)
    faults = 0
    while faults < backoff.MAX_FAULTS:
        try:
            await objects.write_record(run, ttl_seconds)
            return
        except (ClusterUnavailable, ObjectChanged) as exc:
            log.info("run %s: %s", run.run_id, exc)
            await asyncio.sleep(backoff.RETRY_SECONDS)
        except Exception:
            report_exception("run reconciler", f"run {run.run_id}: cannot write the record to its Job")
            faults += 1
            await asyncio.sleep(backoff.backoff_seconds(faults))


async def _wait_for_stores(run: Run, recording: Recording) -> None:
    completed_at = run.completed_at or now()
    while recording.recorder.pending(run.run_id) or recording.publisher.pending(run.run_id):
        waited = now() - completed_at
        if waited >= _MAX_WAIT:
            return
        await asyncio.sleep(min(1.0, 0.02 + waited.total_seconds() / 10))
