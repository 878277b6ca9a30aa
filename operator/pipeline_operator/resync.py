"""The resync: compares cluster, cache and archive at start and every minute, and repairs differences."""

from __future__ import annotations

import asyncio
import contextlib
import time

from launcher.background import repeat
from launcher.cluster import jobs, labels
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.errors import ClusterUnavailable, ObjectMissing
from launcher.metrics import DRIFT
from launcher.stores.archive import Archive
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.housekeeping import delete_unfinished_jobs
from pipeline_operator.reconciler_tasks import ReconcilerTasks

RESYNC_SECONDS = 60.0
_RETRY_SECONDS = 1.0


class Resync:
    """Repairs what events cannot: missed events, missed deletions and failed reconcilers."""

    def __init__(
        self,
        cluster: Cluster,
        cache: ClusterCache,
        archive: Archive,
        reconcilers: ReconcilerTasks,
        *,
        job_ttl_seconds: int,
    ) -> None:
        self._cluster, self._cache, self._archive, self._reconcilers = cluster, cache, archive, reconcilers
        self._job_ttl_seconds = job_ttl_seconds
        self._tried_at = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last attempt. A high value means that the resync is stuck."""
        return time.monotonic() - self._tried_at

    async def run(self) -> None:
        """Resync every minute."""
        await repeat(
            "resync",
            self._round,
            every_seconds=RESYNC_SECONDS,
            expected=(ClusterUnavailable,),
            retry_seconds=_RETRY_SECONDS,
        )

    async def _round(self) -> None:
        try:
            recorded = await self._resync()
            self._reconcilers.synced.set()
            await delete_unfinished_jobs(self._cluster, recorded, self._job_ttl_seconds)
        finally:
            self._tried_at = time.monotonic()

    async def _resync(self) -> list[Manifest]:
        """Resync the cache and start missing reconcilers; return the recorded Jobs that were never released."""
        unhandled = await asyncio.to_thread(self._unhandled)
        names: set[str] = set()
        unfinished: list[Manifest] = []
        uids, jobs_version, pods_version = set[str](), 0, 0
        async for page in self._cluster.pages("Job", labels=labels.RUN):
            jobs_version = page.version
            for job in page.items:
                self._cache.observe_job(job)
                names.add(jobs.name_of(job))
                uids.add(job["metadata"]["uid"])
                if jobs.phase_of(job) == labels.PHASE_RECORDED and not jobs.finished_condition(job):
                    unfinished.append(job)
        async for page in self._cluster.pages("Pod", labels=labels.RUN):
            pods_version = page.version
            for pod in page.items:
                self._cache.observe_pod(pod)
                uids.add(pod["metadata"]["uid"])
        with contextlib.suppress(ObjectMissing):
            self._cache.observe_queue_config(await self._cluster.get("ConfigMap", labels.QUEUE))
        self._cache.mark_missing(uids, jobs_version=jobs_version, pods_version=pods_version)
        for run_id in unhandled - names:
            if run_id not in self._reconcilers:
                DRIFT.labels("run-without-job").inc()
        for run_id in names | unhandled | {run_id for run_id, _ in self._cache.items()}:
            self._reconcilers.ensure(run_id)
            await asyncio.sleep(0)  # it reads the archive: other tasks proceed between two runs
        return unfinished

    def _unhandled(self) -> set[str]:
        """Return the runs that have not finished in the archive, without those that are queued or reconciled."""
        return {run.run_id for run in self._archive.runs(without=self._reconcilers) if not run.status.terminal}
