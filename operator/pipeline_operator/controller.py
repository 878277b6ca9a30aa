"""The controller: sees what happens to Jobs and pods, and has a task for each run, for admission and for order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import datetime, timedelta

from launcher.background import Tasks, contained, repeat, report
from launcher.cluster import jobs, labels
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.errors import ClusterUnavailable, ObjectChanged, ObjectMissing, StoreUnavailable
from launcher.domain.runs import Run, RunStatus, now
from launcher.metrics import DRIFT, LOG_REOPENED, expose
from launcher.retention import forget_before
from launcher.wiring import Storage
from pipeline_operator.admission import Admission
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.lease import renew_lease
from pipeline_operator.run_reconciler import RunReconciler
from pipeline_operator.settings import OperatorSettings

RECONCILE_SECONDS = 60.0
_CLEANING_SECONDS = 3600.0
_AWAY_SECONDS = 1.0
log = logging.getLogger(__name__)


class Controller:
    """All of the operator but kopf."""

    def __init__(self, cluster: Cluster, storage: Storage, settings: OperatorSettings) -> None:
        expose(DRIFT, LOG_REOPENED)
        self._cluster, self._storage, self._settings = cluster, storage, settings
        self._cache = ClusterCache()
        self._reconcilers: dict[str, RunReconciler] = {}
        self._tasks = Tasks()
        self._reconciled = asyncio.Event()
        self._alive_at = time.monotonic()
        self._admission = Admission(
            cluster,
            self._cache,
            limit=settings.MAX_CONCURRENCY,
            waiting=self._waiting,
            prepare=storage.artifacts.make,
        )

    def start(self) -> None:
        """Begin; nothing is released before everything has been listed once."""
        self._tasks.start(
            repeat(
                "reconcile",
                self._reconcile,
                every_seconds=RECONCILE_SECONDS,
                expected=(ClusterUnavailable,),
                retry_seconds=_AWAY_SECONDS,
            ),
            "reconcile",
        )
        self._tasks.start(self._admit(), "admission")
        self._tasks.start(
            repeat(
                "retention",
                self._clean,
                every_seconds=_CLEANING_SECONDS,
                expected=(StoreUnavailable, OSError),
                retry_seconds=60.0,
            ),
            "retention",
        )
        self._tasks.start(renew_lease(self._cluster), "heartbeat")

    async def stop(self) -> None:
        """Let go of every run as it is; the next operator goes on."""
        await self._tasks.stop()

    @property
    def idle_seconds(self) -> float:
        """Seconds since reconciliation last came round."""
        return time.monotonic() - self._alive_at

    def observe_job(self, job: Manifest, *, gone: bool = False) -> None:
        """Take a Job as it now is."""
        self._cache.observe_job(job, gone=gone)
        self._ensure_reconciler_or_report(jobs.name_of(job))

    def observe_pod(self, pod: Manifest, *, gone: bool = False) -> None:
        """Take a pod as it now is."""
        self._cache.observe_pod(pod, gone=gone)

    def observe_switch(self, config_map: Manifest, *, gone: bool = False) -> None:
        """Take the queue's switch as it now is."""
        self._cache.observe_switch(config_map, gone=gone)

    def observe_quota(self) -> None:
        """Take it that the quota has changed."""
        self._cache.changed.set()

    def _ensure_reconciler(self, run_id: str) -> None:
        """Have a task for the run, unless it has one, or has its record."""
        if run_id in self._reconcilers:
            return
        observed = self._cache.get(run_id)
        job = None if observed.job_deleted else observed.job
        run = self._storage.archive.get(run_id)
        if job is not None and jobs.phase_of(job) == labels.PHASE_RECORDED:
            if (record := jobs.record_of(job)) and not (run and run.status.terminal):
                DRIFT.labels("record-missed").inc()  # the archive was restored to a state of before
                self._storage.recorder.record(record)
            return
        if job is None and (run is None or run.status.terminal):
            self._cache.forget(run_id)
            return
        if run is None:
            assert job is not None
            run = jobs.run_of(job, start_grace_seconds=self._settings.START_GRACE_SECONDS)
        self._reconcilers[run_id] = RunReconciler(run, self._cluster, self._cache, self._storage, self._settings)
        self._tasks.start(self._reconcile_run(run_id), f"run {run_id}")

    async def _reconcile_run(self, run_id: str) -> None:
        try:
            await self._reconciled.wait()  # a Job's news may come before its pod's
            await self._reconcilers[run_id].reconcile()
        except Exception:  # reconciliation starts it again
            report("supervise", f"run {run_id}")
            DRIFT.labels("fault").inc()
        else:
            asyncio.get_running_loop().call_soon(
                self._ensure_reconciler_or_report, run_id
            )  # its name may have a new Job
        finally:
            del self._reconcilers[run_id]
            self._cache.changed.set()

    def _ensure_reconciler_or_report(self, run_id: str) -> None:
        """Supervise a run; what one has wrong must not keep others from it."""
        try:
            self._ensure_reconciler(run_id)
        except Exception:
            report("supervise", f"run {run_id}")
            DRIFT.labels("fault").inc()

    def _waiting(self) -> list[Run]:
        """Return the runs that may be released: recorded as queued, Jobs waiting, and nobody wants them to end."""
        found = []
        for run_id, reconciler in self._reconcilers.items():
            with contained("admission", f"run {run_id}: nobody can say whether it waits"):
                job = self._cache.get(run_id).job
                if (
                    job is not None
                    and not self._cache.get(run_id).job_deleted
                    and reconciler.run.status is RunStatus.QUEUED
                    and jobs.phase_of(job) == labels.PHASE_QUEUED
                    and jobs.ended_for(job) is None
                    and not jobs.form_faults(job)
                ):
                    found.append(reconciler.run)
        return found

    async def _admit(self) -> None:
        await self._reconciled.wait()
        await self._admission.run()

    async def _reconcile(self) -> None:
        try:
            await self._compare()
            self._reconciled.set()
        finally:
            self._alive_at = time.monotonic()

    async def _compare(self) -> None:
        """Compare cluster, cache and archive; what differs is seen anew."""
        live = await asyncio.to_thread(self._unended)
        listed = await self._cluster.list("Job", labels=labels.RUN)
        listed_pods = await self._cluster.list("Pod", labels=labels.RUN)
        with contextlib.suppress(ObjectMissing):
            self._cache.observe_switch(await self._cluster.get("ConfigMap", labels.QUEUE))
        self._cache.resync(listed, listed_pods)
        there = {jobs.name_of(job) for job in listed.items}
        for run_id in there | set(live) | {run_id for run_id, _ in self._cache.items()}:
            if run_id not in self._reconcilers and run_id in live and run_id not in there:
                DRIFT.labels("run-without-job").inc()
            self._ensure_reconciler_or_report(run_id)
        await self._delete_unfinished(listed.items)

    def _unended(self) -> list[str]:
        return [run.run_id for run in self._storage.archive.runs() if not run.status.terminal]

    async def _delete_unfinished(self, listed: list[Manifest]) -> None:
        """Delete recorded Jobs that Kubernetes never finishes, and so never forgets: they were never released."""
        oldest = now() - timedelta(seconds=self._settings.JOB_TTL_SECONDS)
        for job in listed:
            run: Run | None = None
            with contained("reconcile", f"the record of {jobs.name_of(job)} cannot be read from its Job"):
                if jobs.phase_of(job) == labels.PHASE_RECORDED and not jobs.finished(job):
                    run = jobs.run_of(job, start_grace_seconds=self._settings.START_GRACE_SECONDS)
            if run and run.completed_at and run.completed_at < oldest:
                try:
                    await self._cluster.delete("Job", run.run_id, job["metadata"]["uid"])
                except (ObjectMissing, ObjectChanged):
                    continue
                except ClusterUnavailable:
                    raise
                except Exception:  # housekeeping must not keep runs from their start
                    report("reconcile", f"the Job of run {run.run_id} cannot be deleted")

    async def _clean(self) -> None:
        moment = now() - timedelta(days=self._settings.RETENTION_DAYS)
        old = await asyncio.to_thread(self._ended_before, moment)
        await forget_before(moment, old, self._storage)

    def _ended_before(self, moment: datetime) -> list[Run]:
        return [run for run in self._storage.archive.runs() if run.completed_at and run.completed_at < moment]
