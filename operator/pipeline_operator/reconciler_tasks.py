"""The queue, and the tasks of all reconcilers: one for each run for which there is something to do.

A run that only waits for a slot has none, because nothing has to be done for it until its Job changes.
"""

from __future__ import annotations

import asyncio
import logging

from launcher.background import Tasks, repeat, report_exception, suppress_and_report
from launcher.cluster import jobs, labels
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.run_queue import RunQueue
from launcher.domain.runs import Run, RunStatus
from launcher.metrics import DRIFT
from launcher.wiring import Recording, Storage
from pipeline_operator import backoff
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun
from pipeline_operator.run_reconciler import RunReconciler
from pipeline_operator.settings import OperatorSettings

log = logging.getLogger(__name__)


class ReconcilerTasks:
    """Decides for each run, whenever it changes, whether it only waits or needs a reconciler.

    Reconcilers wait for `synced`, when the cache is complete.
    """

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
        self.queue = RunQueue()
        """The runs that admission may release."""
        self._job_uids: dict[str, str | None] = {}  # of the runs without a reconciler; another Job can replace a Job
        self._unrecorded: asyncio.Queue[str] = asyncio.Queue()
        self._record_lock = asyncio.Lock()
        self.synced = asyncio.Event()
        """Set when the cache has been filled from complete lists."""
        cache.on_change = self._on_change

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._reconcilers or run_id in self.queue

    def ensure(self, run_id: str) -> None:
        """Queue a run, or start its reconciler, if needed. Errors are reported, and do not affect other runs."""
        try:
            self._ensure(run_id)
        except Exception:
            report_exception("run reconciler", f"run {run_id}: cannot start its reconciler")
            DRIFT.labels("fault").inc()

    async def record_queued(self) -> None:
        """Record queued runs, one at a time, while what is more urgent proceeds."""
        await self.synced.wait()
        await repeat("record queued runs", self._record_next)

    async def _record_next(self) -> None:
        run_id = await self._unrecorded.get()
        async with self._record_lock:
            recorded = await self._record(run_id)
        if not recorded:
            self._unrecorded.put_nowait(run_id)
            await asyncio.sleep(backoff.RETRY_SECONDS)

    async def _record(self, run_id: str) -> bool:
        """Record a queued run. Returns False if the disk cannot take it now."""
        run = self.queue.get(run_id)
        if run is None or run_id in self._reconcilers:  # which records it
            return True
        try:
            await self._recording.recorder.record_in_thread(run)
        except OSError as exc:  # probably a full disk: wait for space
            log.error("run %s: cannot write its record: %s", run_id, exc)
            return False
        except Exception:
            report_exception("recorder", f"run {run_id}: cannot write its record")
            if run_id not in self._reconcilers:
                self._start(run)
        return True

    def _on_change(self, run_id: str) -> None:
        if self._cache.get(run_id).job is not None:  # a pod's events can arrive before those of its Job
            self.ensure(run_id)

    def _ensure(self, run_id: str) -> None:
        observed = self._cache.get(run_id)
        if reconciler := self._reconcilers.get(run_id):
            if reconciler.active and _only_waits(reconciler.run, reconciler.observed):
                self.queue.add(reconciler.run)
            else:
                self.queue.discard(run_id)
        elif run := self.queue.get(run_id):
            if not _only_waits(run, observed) or _uid(observed) != self._job_uids[run_id]:
                self.queue.discard(run_id)
                self._start(run)
        else:
            self._begin(run_id, observed)

    def _begin(self, run_id: str, observed: ObservedRun) -> None:
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
            self._job_uids[run_id] = _uid(observed)
            if _only_waits(run, observed):
                self.queue.add(run)
                self._unrecorded.put_nowait(run_id)
            else:
                self._start(run)

    def _start(self, run: Run) -> None:
        self._reconcilers[run.run_id] = RunReconciler(
            run,
            self._cluster,
            self._cache,
            self._storage,
            self._recording,
            self._settings,
            job_uid=self._job_uids.pop(run.run_id),
        )
        self._tasks.start(self._reconcile(run.run_id), f"run {run.run_id}")

    def _restore_record(self, job: Manifest, run: Run | None) -> None:
        """Copy the Job's record to an archive without it, for example one that was restored from a backup."""
        if (record := jobs.record_of(job)) and not (run and run.status.terminal):
            DRIFT.labels("record-missed").inc()
            self._recording.recorder.record(record)

    async def _reconcile(self, run_id: str) -> None:
        try:
            await self.synced.wait()  # a Job's events can arrive before those of its pod
            async with self._record_lock:
                pass  # a run that has just left the queue is recorded by one task at a time
            await self._reconcilers[run_id].reconcile()
        except Exception:  # the next resync starts it again
            report_exception("run reconciler", f"run {run_id}: its reconciler failed")
            DRIFT.labels("fault").inc()
        else:
            asyncio.get_running_loop().call_soon(self.ensure, run_id)  # a new Job may have the same name
        finally:
            del self._reconcilers[run_id]
            self.queue.discard(run_id)
            self._cache.changed.set()


def _only_waits(run: Run, observed: ObservedRun) -> bool:
    """Whether the run may be released, and nothing else is to be done for it."""
    with suppress_and_report("run reconciler", f"run {run.run_id}: cannot decide whether it only waits"):
        return (
            observed.job is not None
            and observed.queued
            and not observed.job_deleted
            and run.status is RunStatus.QUEUED
            and jobs.termination_reason(observed.job) is None
            and not jobs.requirement_faults(observed.job)
        )
    return False


def _uid(observed: ObservedRun) -> str | None:
    return observed.job["metadata"]["uid"] if observed.job else None
