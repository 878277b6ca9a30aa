"""The tasks of all reconcilers: one for each run without a final record on its Job."""

from __future__ import annotations

import asyncio

from launcher.background import Tasks, report_exception, suppress_and_report
from launcher.cluster import jobs, labels
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.runs import Run, RunStatus
from launcher.metrics import DRIFT
from launcher.wiring import Recording, Storage
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun
from pipeline_operator.run_reconciler import RunReconciler
from pipeline_operator.settings import OperatorSettings


class ReconcilerTasks:
    """Starts a reconciler for each run that needs one. Reconcilers wait for `synced`, when the cache is complete."""

    def __init__(
        self,
        cluster: Cluster,
        cache: ClusterCache,
        storage: Storage,
        recording: Recording,
        settings: OperatorSettings,
        tasks: Tasks,
    ) -> None:
        self._cluster, self._cache, self._settings = cluster, cache, settings
        self._storage, self._recording = storage, recording
        self._tasks = tasks
        self._reconcilers: dict[str, RunReconciler] = {}
        self.synced = asyncio.Event()
        """Set when the cache has been filled from complete lists."""

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._reconcilers

    def ensure(self, run_id: str) -> None:
        """Start a reconciler if the run needs one and has none. Errors are reported, and do not affect other runs."""
        try:
            self._ensure(run_id)
        except Exception:
            report_exception("run reconciler", f"run {run_id}: cannot start its reconciler")
            DRIFT.labels("fault").inc()

    def releasable(self) -> list[Run]:
        """Return the runs that admission may release."""
        found = []
        for run_id, reconciler in self._reconcilers.items():
            with suppress_and_report("admission", f"run {run_id}: cannot decide whether to release it"):
                if _releasable(reconciler.run, self._cache.get(run_id)):
                    found.append(reconciler.run)
        return found

    def _ensure(self, run_id: str) -> None:
        if run_id in self._reconcilers:
            return
        observed = self._cache.get(run_id)
        job = None if observed.job_deleted else observed.job
        run = self._storage.archive.get(run_id)
        if job is not None and jobs.phase_of(job) == labels.PHASE_RECORDED:
            self._restore_record(job, run)
        elif job is None and (run is None or run.status.terminal):
            self._cache.evict(run_id)
        else:
            if run is None:
                assert job is not None
                run = jobs.run_of(job, start_grace_seconds=self._settings.START_GRACE_SECONDS)
            self._reconcilers[run_id] = RunReconciler(
                run, self._cluster, self._cache, self._storage, self._recording, self._settings
            )
            self._tasks.start(self._reconcile(run_id), f"run {run_id}")

    def _restore_record(self, job: Manifest, run: Run | None) -> None:
        """Copy the Job's record to an archive without it, for example one that was restored from a backup."""
        if (record := jobs.record_of(job)) and not (run and run.status.terminal):
            DRIFT.labels("record-missed").inc()
            self._recording.recorder.record(record)

    async def _reconcile(self, run_id: str) -> None:
        try:
            await self.synced.wait()  # a Job's events can arrive before those of its pod
            await self._reconcilers[run_id].reconcile()
        except Exception:  # the next resync starts it again
            report_exception("run reconciler", f"run {run_id}: its reconciler failed")
            DRIFT.labels("fault").inc()
        else:
            asyncio.get_running_loop().call_soon(self.ensure, run_id)  # a new Job may have the same name
        finally:
            del self._reconcilers[run_id]
            self._cache.changed.set()


def _releasable(run: Run, observed: ObservedRun) -> bool:
    job = observed.job
    return (
        job is not None
        and observed.queued
        and not observed.job_deleted
        and run.status is RunStatus.QUEUED
        and jobs.termination_reason(job) is None
        and not jobs.requirement_faults(job)
    )
