"""Reconciles one run, from the queue to the final record on its Job.

Each step reads the run's objects from the cache, decides what to do (`decisions.next_step`), and does it. If the
operator dies, the next one continues from the archive and the cluster.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from enum import Enum

from launcher.background import report_exception, suppress_and_report
from launcher.cluster import jobs, pods
from launcher.cluster.port import Cluster
from launcher.domain.errors import ClusterUnavailable, ObjectChanged
from launcher.domain.outcomes import failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.metrics import RUNS
from launcher.wiring import Recording, Storage
from pipeline_operator import backoff
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun
from pipeline_operator.decisions import Facts, Finish, Limits, RefreshPods, Step, Terminate, Wait, next_step
from pipeline_operator.final_record import make_final_record, time_of
from pipeline_operator.job_record import write_job_record
from pipeline_operator.run_log import RunLog
from pipeline_operator.run_objects import RunObjects
from pipeline_operator.settings import OperatorSettings

_REFRESH_SECONDS = 2.0  # how often pods are listed during a grace period
_SIZE_SECONDS = 10.0  # how often a running run's artifacts are measured
_TERMINATION_MARGIN_SECONDS = 5.0
_WAITING_FOR_CHARACTERS = 500
log = logging.getLogger(__name__)


class State(Enum):
    """How far a reconciler has taken its run."""

    ACTIVE = "active"
    """Queued or running."""
    FINISHED = "finished"
    """The outcome is decided, and must be recorded in the archive."""
    RECORDED = "recorded"
    """The archive has the outcome, and the Job must get the record."""
    DONE = "done"


class RunReconciler:
    """Reconciles one run. `reconcile` runs in its own task."""

    def __init__(
        self,
        run: Run,
        cluster: Cluster,
        cache: ClusterCache,
        storage: Storage,
        recording: Recording,
        settings: OperatorSettings,
        *,
        job_uid: str | None,
    ) -> None:
        self._run, self._cluster, self._settings = run, cluster, settings
        self._storage, self._recording = storage, recording
        self._objects = RunObjects(run.run_id, job_uid, cluster, cache)
        self._log = RunLog(self._objects, cluster, cache, storage.archive, recording.publisher)
        self._limits = Limits(grace_seconds=settings.grace_seconds, start_seconds=settings.START_GRACE_SECONDS)
        job = self._objects.observed.job
        self._facts = Facts(now=now(), cause_since=now(), detail=jobs.termination_detail(job) if job else "")
        self._state = State.RECORDED if run.status.terminal else State.ACTIVE
        self._finished = run
        self._faults = 0

    @property
    def run(self) -> Run:
        """The run as last recorded."""
        return self._run

    @property
    def active(self) -> bool:
        """Whether the run's outcome has not been decided."""
        return self._state is State.ACTIVE

    @property
    def observed(self) -> ObservedRun:
        """The run's Job and pod as last observed."""
        return self._objects.observed

    async def reconcile(self) -> None:
        """Repeat steps until the run's record is on its Job."""
        if self._state is State.RECORDED:  # the previous operator may have died before the stores had everything
            self._recording.recorder.enqueue(self._run)
            if self._storage.archive.has_log(self._run.run_id):
                self._recording.publisher.finish(self._run.run_id)
        try:
            while self._state is not State.DONE:
                await self._step_or_retry()
        finally:
            await self._log.release()

    async def _step_or_retry(self) -> None:
        try:
            await self._step()
            self._faults = 0
        except (ClusterUnavailable, ObjectChanged) as exc:
            log.info("run %s: %s", self._run.run_id, exc)
            await asyncio.sleep(backoff.RETRY_SECONDS)
        except OSError as exc:  # probably a full disk: wait for space
            log.error("run %s: cannot write its record: %s", self._run.run_id, exc)
            await asyncio.sleep(backoff.RETRY_SECONDS)
        except Exception as exc:
            report_exception("run reconciler", f"run {self._run.run_id}: cannot reconcile it")
            self._faults += 1
            if self._faults < backoff.MAX_FAULTS or not await self._abort(f"{type(exc).__name__}: {exc}"[:500]):
                await asyncio.sleep(backoff.backoff_seconds(self._faults))

    async def _step(self) -> None:
        match self._state:
            case State.ACTIVE:
                observed = self._objects.observed
                await self._sync(observed)
                await self._act(next_step(self._run, observed, self._facts, self._limits), observed)
            case State.FINISHED:
                self._run = await self._recording.recorder.record_outcome(self._finished)
                RUNS.labels(self._run.pipeline, self._run.status, self._run.reason).inc()
                self._state = State.RECORDED
            case State.RECORDED:
                await write_job_record(self._run, self._objects, self._recording, self._settings.JOB_TTL_SECONDS)
                self._state = State.DONE

    async def _sync(self, observed: ObservedRun) -> None:
        """Update the record and the facts from the run's objects, and follow its log."""
        self._recording.recorder.record(self._run)  # does nothing if this state is already recorded
        if observed.job is not None and jobs.cancel_requested(observed.job) and not self._run.cancel_requested:
            self._record(self._run.cancelling(now()))
        if observed.pod is not None and not observed.queued:
            if pods.scheduled(observed.pod):
                self._log.follow(self._run)
            started_at = pods.started_at(observed.pod)
            if self._run.status is RunStatus.QUEUED and (started_at or self._log.container_started):
                self._record(self._run.started(time_of(self._run, started_at)))
        self._facts = replace(self._facts, now=now(), unavailable_at=self._cluster.unavailable_at)
        if observed.pod_terminated or self._run.status is RunStatus.RUNNING:
            with suppress_and_report("artifacts", f"run {self._run.run_id}: cannot measure its artifacts"):
                self._facts = replace(self._facts, excess=await self._storage.artifacts.excess(self._run.run_id))

    async def _act(self, step: Step, observed: ObservedRun) -> None:
        match step:
            case Wait():
                await self._wait(step, observed)
            case RefreshPods():
                await self._objects.refresh_pods()
                self._facts = replace(self._facts, pods_listed=True)
            case Terminate(reason=reason, detail=detail):
                await self._terminate(reason, detail, observed)
                seconds = self._settings.TERMINATION_GRACE_SECONDS + _TERMINATION_MARGIN_SECONDS
                await self._objects.wait_for_change(observed, seconds)
            case Finish(outcome=outcome):
                await self._finish(outcome, observed)

    async def _wait(self, wait: Wait, observed: ObservedRun) -> None:
        if wait.cause != self._facts.cause:
            self._facts = replace(self._facts, cause=wait.cause, cause_since=self._facts.now)
        waiting_for = wait.waiting_for
        if waiting_for and observed.pod is None:
            waiting_for = await self._objects.pod_refusal() or waiting_for
        if waiting_for and self._run.status is RunStatus.QUEUED:
            waiting_for = waiting_for[:_WAITING_FOR_CHARACTERS]
            if waiting_for != self._run.waiting_for:
                self._record(self._run.waiting(waiting_for, now()))
        interval = _REFRESH_SECONDS if wait.cause else _SIZE_SECONDS if self._run.status is RunStatus.RUNNING else None
        await self._objects.wait_for_change(observed, min(filter(None, (interval, wait.seconds)), default=None))
        if wait.cause and self._objects.observed.version == observed.version:
            await self._objects.refresh_pods()  # the grace period must not expire because of a missed event

    async def _terminate(self, reason: Reason, detail: str, observed: ObservedRun) -> None:
        if reason is Reason.CANNOT_START and observed.pod is None:
            detail = await self._objects.pod_refusal() or detail
        self._facts = replace(self._facts, termination_reason=reason, detail=detail)
        await self._objects.terminate(observed, reason, detail)

    async def _finish(self, outcome: Outcome, observed: ObservedRun) -> None:
        self._finished = await make_final_record(
            self._run, outcome, observed, self._log, self._storage, self._settings.pipelines
        )
        self._state = State.FINISHED
        self._objects.notify()  # it may have been in the queue

    async def _abort(self, detail: str) -> bool:
        """Stop and finish a run that cannot be reconciled; return whether that succeeded."""
        while not (observed := self._objects.observed).stopped:
            with suppress_and_report("run reconciler", f"run {self._run.run_id}: cannot stop it"):
                await self._terminate(Reason.INTERNAL_ERROR, detail, observed)
            await self._objects.wait_for_change(observed, backoff.RETRY_MAX_SECONDS)
        if self._state is not State.ACTIVE:
            return False
        with suppress_and_report("run reconciler", f"run {self._run.run_id}: cannot finish it"):
            await self._finish(failure(Reason.INTERNAL_ERROR, detail=detail), observed)
            return True
        return False

    def _record(self, run: Run) -> None:
        self._recording.recorder.record(run)
        self._run = run
