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
            listed = await self._resync()
            self._reconcilers.synced.set()
            await delete_unfinished_jobs(self._cluster, listed, self._job_ttl_seconds)
        finally:
            self._tried_at = time.monotonic()

    async def _resync(self) -> list[Manifest]:
        """Resync the cache and start missing reconcilers; return the listed Jobs."""
        live = await asyncio.to_thread(self._live)
        listed_jobs = await self._cluster.list("Job", labels=labels.RUN)
        listed_pods = await self._cluster.list("Pod", labels=labels.RUN)
        with contextlib.suppress(ObjectMissing):
            self._cache.observe_queue_config(await self._cluster.get("ConfigMap", labels.QUEUE))
        self._cache.resync(listed_jobs, listed_pods)
        names = {jobs.name_of(job) for job in listed_jobs.items}
        for run_id in live - names:
            if run_id not in self._reconcilers:
                DRIFT.labels("run-without-job").inc()
        for run_id in names | live | {run_id for run_id, _ in self._cache.items()}:
            self._reconcilers.ensure(run_id)
        return listed_jobs.items

    def _live(self) -> set[str]:
        return {run.run_id for run in self._archive.runs() if not run.status.terminal}
