"""Housekeeping: deletes runs after their retention, and recorded Jobs that Kubernetes would never delete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

from launcher.background import repeat, report_exception, suppress_and_report
from launcher.cluster import jobs
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.errors import ClusterUnavailable, ObjectChanged, ObjectMissing, StoreUnavailable
from launcher.domain.runs import Run, now
from launcher.retention import delete_before
from launcher.wiring import Storage

_RETENTION_SECONDS = 3600.0
_RETENTION_RETRY_SECONDS = 60.0


async def apply_retention(storage: Storage, days: float) -> None:
    """Delete old runs every hour."""

    async def delete_old_runs() -> None:
        oldest = now() - timedelta(days=days)
        old = await asyncio.to_thread(
            lambda: [run for run in storage.archive.runs() if run.completed_at and run.completed_at < oldest]
        )
        await delete_before(oldest, old, storage)

    await repeat(
        "retention",
        delete_old_runs,
        every_seconds=_RETENTION_SECONDS,
        expected=(StoreUnavailable, OSError),
        retry_seconds=_RETENTION_RETRY_SECONDS,
    )


async def delete_unfinished_jobs(cluster: Cluster, listed: Iterable[Manifest], ttl_seconds: int) -> None:
    """Delete recorded Jobs that were never released. Kubernetes never finishes them, so their TTL has no effect."""
    oldest = now() - timedelta(seconds=ttl_seconds)
    for job in listed:
        run = _record_of(job)
        if run is None or run.completed_at is None or run.completed_at >= oldest:
            continue
        try:
            await cluster.delete("Job", run.run_id, job["metadata"]["uid"])
        except (ObjectMissing, ObjectChanged):
            continue
        except ClusterUnavailable:
            raise
        except Exception:
            report_exception("resync", f"run {run.run_id}: cannot delete its Job")


def _record_of(job: Manifest) -> Run | None:
    """Return the record on a Job; None if there is none, or it cannot be read."""
    with suppress_and_report("resync", f"run {jobs.name_of(job)}: cannot read the record on its Job"):
        return jobs.record_of(job)
    return None
