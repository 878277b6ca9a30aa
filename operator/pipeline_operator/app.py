"""The operator without kopf: assembles its components and runs its background tasks."""

from __future__ import annotations

from launcher.background import Tasks
from launcher.cluster.port import Cluster, Manifest
from launcher.metrics import DRIFT, LOG_REOPENED, expose
from launcher.wiring import Recording, Storage
from pipeline_operator.admission import Admission
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.housekeeping import apply_retention
from pipeline_operator.lease import renew_lease
from pipeline_operator.reconciler_tasks import ReconcilerTasks
from pipeline_operator.resync import Resync
from pipeline_operator.settings import OperatorSettings


class Operator:
    """Receives the cluster's events, and does everything else in background tasks."""

    def __init__(self, cluster: Cluster, storage: Storage, recording: Recording, settings: OperatorSettings) -> None:
        expose(DRIFT, LOG_REOPENED)
        self._cluster, self._storage, self._settings = cluster, storage, settings
        self._tasks = Tasks()
        self._cache = ClusterCache()
        self._reconcilers = ReconcilerTasks(cluster, self._cache, storage, recording, settings, self._tasks)
        self._resync = Resync(
            cluster, self._cache, storage.archive, self._reconcilers, job_ttl_seconds=settings.JOB_TTL_SECONDS
        )
        self._admission = Admission(
            cluster,
            self._cache,
            limit=settings.MAX_CONCURRENCY,
            queue=self._reconcilers.queue,
            prepare=storage.artifacts.make,
        )

    def start(self) -> None:
        """Start the background tasks."""
        self._tasks.start(self._resync.run(), "resync")
        self._tasks.start(self._admit(), "admission")
        self._tasks.start(self._reconcilers.record_queued(), "record queued runs")
        self._tasks.start(apply_retention(self._storage, self._settings.RETENTION_DAYS), "retention")
        self._tasks.start(renew_lease(self._cluster), "heartbeat")

    async def stop(self) -> None:
        """Stop all tasks. Pods keep running, and the next operator continues."""
        await self._tasks.stop()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last attempt to resync."""
        return self._resync.idle_seconds

    def observe_job(self, job: Manifest, *, deleted: bool = False) -> None:
        """Handle a Job's event."""
        self._cache.observe_job(job, deleted=deleted)

    def observe_pod(self, pod: Manifest, *, deleted: bool = False) -> None:
        """Handle a pod's event."""
        self._cache.observe_pod(pod, deleted=deleted)

    def observe_queue_config(self, config_map: Manifest, *, deleted: bool = False) -> None:
        """Handle an event of the queue's ConfigMap."""
        self._cache.observe_queue_config(config_map, deleted=deleted)

    def observe_quota(self) -> None:
        """Handle an event of the quota, by waking admission."""
        self._cache.changed.set()

    async def _admit(self) -> None:
        await self._reconcilers.synced.wait()  # before that, slots cannot be counted
        await self._admission.run()
