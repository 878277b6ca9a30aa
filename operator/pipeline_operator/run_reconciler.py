"""The reconciler of one run: from the first observed of its Job to its record, in one task.

It looks, decides (`decisions`), and does: notes what the run waits for, starts its log pump, ends it, records its end.
Killed at any moment, the next operator begins it again from what archive and cluster say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import datetime, timedelta

from launcher.background import contained, report
from launcher.cluster import jobs, labels, manifests, pods
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectChanged, ObjectMissing
from launcher.domain.log_lines import Gap, Receipt
from launcher.domain.outcomes import failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.metrics import RUNS
from launcher.recorder import no_room
from launcher.wiring import Storage
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun
from pipeline_operator.decisions import Facts, Finish, Limits, Terminate, Wait, next_step
from pipeline_operator.pod_log import PodLogFollower
from pipeline_operator.settings import OperatorSettings

_RETRY_SECONDS = 0.5
_RETRY_MAX_SECONDS = 10.0
_MAX_FAULTS = 5
"""So many unexpected exceptions in a row, over some 15 seconds, end a run, or the reading of its log."""
_REFRESH_SECONDS = 2.0  # between two looks at the pods of a run whose patience is measured
_SIZE_SECONDS = 10.0  # between two looks at the size of a run's artifacts
_WHILE_AWAY = timedelta(seconds=10)  # a pod's time that is older than this tells of what nobody saw happen
_NOT_HELD_BACK_AFTER = timedelta(days=1)  # a store that is away for longer no longer keeps a Job from its end
log = logging.getLogger(__name__)


class RunReconciler:
    """One run's life as the operator sees it."""

    def __init__(
        self, run: Run, cluster: Cluster, cache: ClusterCache, storage: Storage, settings: OperatorSettings
    ) -> None:
        self._run = run
        self._cluster, self._cache, self._storage, self._settings = cluster, cache, storage, settings
        self._limits = Limits(
            grace_seconds=settings.grace_seconds,
            start_seconds=settings.START_GRACE_SECONDS,
        )
        job = cache.get(run.run_id).job
        self._uid: str | None = job["metadata"]["uid"] if job else None
        self._facts = Facts(now=now(), cause_since=now(), detail=jobs.end_detail(job) if job else "")
        self._log: PodLogFollower | None = None
        self._pump: asyncio.Task[None] | None = None
        self._pods_listed = False
        self._ended: Run | None = None
        self._faults = 0

    @property
    def run(self) -> Run:
        """The run as it was last recorded."""
        return self._run

    async def reconcile(self) -> None:
        """See the run through."""
        if self._run.status.terminal and self._storage.archive.has_log(self._run.run_id):
            self._storage.publisher.finish(self._run.run_id)  # the operator before this one may not have come to it
        try:
            while not self._run.status.terminal:
                try:
                    await self._step(self._observed)
                    self._faults = 0
                except (ClusterUnavailable, ObjectChanged) as exc:
                    log.info("run %s: %s", self._run.run_id, exc)
                    await asyncio.sleep(_RETRY_SECONDS)
                except OSError as exc:  # a full disk: the record waits for room, it is not lost
                    log.error("run %s: its record cannot be written: %s", self._run.run_id, exc)
                    await asyncio.sleep(_RETRY_SECONDS)
                except Exception as exc:
                    report("supervise", f"run {self._run.run_id} cannot be handled")
                    await self._retry_or_abort(exc)
            await self._record_on_job()
        finally:
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.gather(self._pump, return_exceptions=True)
            if self._log is not None:
                self._log.stop()

    @property
    def _observed(self) -> ObservedRun:
        """The run as last seen; a Job that somebody made anew under its name is not it."""
        observed = self._cache.get(self._run.run_id)
        if observed.job is not None and observed.job["metadata"]["uid"] != self._uid:
            return ObservedRun(version=observed.version, job_deleted=True)
        return observed

    async def _step(self, observed: ObservedRun) -> None:
        self._storage.recorder.record(self._run)  # no change where it is recorded already
        self._sync(observed)
        self._facts = replace(self._facts, now=now(), away_at=self._cluster.unavailable_at)
        if observed.pod_terminated or self._run.status is RunStatus.RUNNING:
            await self._measure()
        match next_step(self._run, observed, self._facts, self._limits):
            case Finish() if observed.pod is None and not self._pods_listed:
                await self._list_pods()
                self._pods_listed = True
            case Finish(outcome=outcome):
                await self._record_outcome(outcome, observed)
            case Terminate(reason=reason, detail=detail):
                await self._terminate(observed, reason, detail)
                await self._cache.wait_for_change(
                    self._run.run_id, observed, self._settings.TERMINATION_GRACE_SECONDS + 5
                )
            case Wait() as wait:
                await self._wait(observed, wait)

    def _sync(self, observed: ObservedRun) -> None:
        """Note what has changed: the wish to cancel, the container's start; start the pump."""
        if observed.job is not None and jobs.cancelled(observed.job) and not self._run.cancel_requested:
            self._keep(self._run.cancelling(now()))
        if observed.pod is None or _never_released(observed) or self._ended is not None:
            return
        if self._pump is None and pods.scheduled(observed.pod):
            self._pump = asyncio.create_task(self._read_log(), name=f"log {self._run.run_id}")
            self._pump.add_done_callback(lambda _: self._cache.notify(self._run.run_id))
        began = (self._log is not None and self._log.opened) or pods.started_at(observed.pod) is not None
        if began and self._run.status is RunStatus.QUEUED:
            self._keep(self._run.started(self._moment(pods.started_at(observed.pod))))

    async def _read_log(self) -> None:
        """Follow the pod's log to its end; after a fault once more, until it has failed too often."""
        faults = 0
        while faults < _MAX_FAULTS:
            try:
                await self._open_log().follow()
                return
            except Exception as exc:
                report("log", f"run {self._run.run_id}: its log cannot be read; it is tried again")
                faults += not no_room(exc)
            await asyncio.sleep(min(_RETRY_SECONDS * 2**faults, _RETRY_MAX_SECONDS))

    async def _measure(self) -> None:
        with contained("size", f"run {self._run.run_id}: its files cannot be counted"):
            self._facts = replace(self._facts, excess=await self._storage.artifacts.excess(self._run.run_id))

    def _moment(self, told: datetime | None) -> datetime:
        """Return when something happened: now, or, where it happened while nobody looked, as the pod tells."""
        at = now()
        if told is None or at - told < _WHILE_AWAY:
            return at
        return max(told, self._run.started_at or self._run.created_at)

    async def _wait(self, observed: ObservedRun, wait: Wait) -> None:
        if wait.cause != self._facts.cause:
            self._facts = replace(self._facts, cause=wait.cause, cause_since=self._facts.now)
        why = wait.waiting_for
        if why and observed.pod is None:
            why = await self._why_no_pod() or why
        if self._run.status is RunStatus.QUEUED and why is not None and why[:500] != self._run.waiting_for:
            self._keep(self._run.waiting(why[:500], now()))
        seconds = wait.seconds
        if self._run.status is RunStatus.RUNNING:
            seconds = min(_SIZE_SECONDS, wait.seconds or _SIZE_SECONDS)
        if wait.cause is not None:
            seconds = min(_REFRESH_SECONDS, wait.seconds or _REFRESH_SECONDS)
        await self._cache.wait_for_change(self._run.run_id, observed, seconds)
        if wait.cause is not None and self._observed.version == observed.version:
            await self._list_pods()  # patience ends only while Kubernetes answers, and never on old news

    async def _list_pods(self) -> None:
        """Ask for the run's pods: the Job's news may be here before its pod's."""
        for pod in (await self._cluster.list("Pod", labels=f"{labels.JOB_NAME}={self._run.run_id}")).items:
            self._cache.observe_pod(pod)

    async def _why_no_pod(self) -> str | None:
        fields = f"involvedObject.kind=Job,involvedObject.name={self._run.run_id},reason=FailedCreate"
        try:
            events = (await self._cluster.list("Event", fields=fields)).items
        except ClusterUnavailable:
            raise
        except ClusterError:  # an account without the right to list Events
            return None
        newest = max(events, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)
        return f"Kubernetes refuses the pod: {newest.get('message', '')}" if newest else None

    async def _terminate(self, observed: ObservedRun, reason: Reason, detail: str) -> None:
        """Terminate the run: its reason is stored first, so that whoever goes on after us knows it."""
        if reason is Reason.CANNOT_START and observed.pod is None:
            detail = await self._why_no_pod() or detail
        self._facts = replace(self._facts, ending_for=reason, detail=detail)
        with contextlib.suppress(ObjectMissing):
            if observed.job is not None and not observed.job_deleted:
                await self._store_reason(observed, observed.job, reason, detail)
            if observed.pod is not None and not observed.pod_terminated and reason is not Reason.REJECTED:
                name, uid = observed.pod["metadata"]["name"], observed.pod["metadata"]["uid"]
                if not pods.scheduled(observed.pod):
                    await self._cluster.delete("Pod", name, uid)
                elif observed.pod["spec"].get("activeDeadlineSeconds") != 1:
                    self._cache.observe_pod(await self._cluster.patch("Pod", name, manifests.deadline_patch()))

    async def _store_reason(self, observed: ObservedRun, job: Manifest, reason: Reason, detail: str) -> None:
        """Store why the run is ended; a Job without a pod, or that is no run, is suspended in the same breath."""
        suspend = (observed.pod is None or reason is Reason.REJECTED) and not jobs.suspended(job)
        if suspend or jobs.ended_for(job) is None:
            await self._patch_job(manifests.termination_patch(reason, detail[:1000], suspend=suspend))

    async def _record_outcome(self, outcome: Outcome, observed: ObservedRun) -> None:
        """Record the run's end: the archive at once, the stores as soon as they can."""
        if self._pump is not None:
            await asyncio.wait([self._pump])
            self._pump = None
        if self._ended is None:
            run, ended_at = self._run, None
            with contained("supervise", f"run {run.run_id}: nobody can say when it ended"):
                ended = pods.exit_of(observed.pod) if observed.pod is not None else None
                ended_at = ended.finished_at if ended else None
            if outcome.status is RunStatus.COMPLETED and run.status is RunStatus.QUEUED:
                run = run.started(self._moment(None))
            pipeline, artifacts = self._settings.pipelines.get(run.pipeline), {}
            receipt = self._closed_log(outcome)
            if pipeline and observed.job is not None and jobs.names_its_pipeline(observed.job):
                outcome = pipeline.explained(outcome)
            if pipeline:
                with contained("discover", f"run {run.run_id}: its files cannot be listed"):
                    artifacts = await self._storage.artifacts.discover(run.run_id, pipeline.artifacts)
            self._ended = run.ended(outcome, self._moment(ended_at), receipt, artifacts)
        self._run = await self._storage.recorder.record_end(self._ended)
        RUNS.labels(self._run.pipeline, self._run.status, self._run.reason).inc()

    async def _retry_or_abort(self, exc: Exception) -> None:
        """Wait before the next try; after too many, stop the run's pod and record what is known of its end."""
        self._faults += 1
        if self._faults < _MAX_FAULTS:
            await asyncio.sleep(min(_RETRY_SECONDS * 2**self._faults, _RETRY_MAX_SECONDS))
            return
        detail = f"{type(exc).__name__}: {exc}"[:500]
        while not _nothing_runs(observed := self._observed):
            with contained("supervise", f"run {self._run.run_id} cannot be stopped yet"):
                await self._terminate(observed, Reason.INTERNAL_ERROR, detail)
            await self._cache.wait_for_change(self._run.run_id, observed, _RETRY_MAX_SECONDS)
        with contained("supervise", f"the end of run {self._run.run_id} cannot be recorded yet"):
            await self._record_outcome(failure(Reason.INTERNAL_ERROR, detail=detail), observed)

    def _closed_log(self, outcome: Outcome) -> Receipt:
        """Close the log; of one that cannot be opened or closed, the receipt says so."""
        try:
            return self._close_log(outcome)
        except Exception as exc:
            if no_room(exc):
                raise
            report("log", f"run {self._run.run_id}: its log cannot be closed")
            self._log = None
            self._storage.publisher.finish(self._run.run_id)
            return Receipt(gaps=(Gap(first=1, last=1, why="The log could not be kept: the archive refused it."),))

    def _close_log(self, outcome: Outcome) -> Receipt:
        """Close the log where there is one; of a run that failed before it began the log says why."""
        begun = self._log is not None or self._storage.archive.has_log(self._run.run_id)
        if not begun and outcome.status is not RunStatus.FAILED:
            return Receipt(complete=True)
        opened = self._open_log()
        # what cannot be started has a log too, an empty one
        began = opened.opened and outcome.reason is not Reason.CANNOT_START
        receipt = opened.close(None if began else outcome.message)
        self._log = None
        return receipt

    async def _record_on_job(self) -> None:
        """Write the record onto the Job once every store has it; delete a Job that was cancelled before its release."""
        run_id = self._run.run_id
        completed_at = self._run.completed_at or now()
        recorder, publisher = self._storage.recorder, self._storage.publisher
        while (recorder.pending(run_id) or publisher.pending(run_id)) and now() - completed_at < _NOT_HELD_BACK_AFTER:
            await asyncio.sleep(min(1.0, 0.02 + (now() - completed_at).total_seconds() / 10))
        for tries in range(1, _MAX_FAULTS + 1):  # then it is begun again by reconciliation
            try:
                await self._write_record()
                return
            except ObjectMissing:
                return
            except Exception:
                report("supervise", f"the record of run {run_id} cannot be written onto its Job")
                await asyncio.sleep(min(_RETRY_SECONDS * 2**tries, _RETRY_MAX_SECONDS))

    async def _write_record(self) -> None:
        run_id = self._run.run_id
        while True:
            observed = self._observed
            if observed.job is None or observed.job_deleted or jobs.phase_of(observed.job) == labels.PHASE_RECORDED:
                return
            try:
                if self._run.reason == Reason.CANCELLED and self._run.started_at is None and observed.pod is None:
                    await self._cluster.delete("Job", run_id, observed.job["metadata"]["uid"])
                else:  # a release may have come too late to be undone before
                    may_run = not jobs.suspended(observed.job) and not jobs.finished(observed.job)
                    stop = may_run and (_never_released(observed) or not observed.pod_terminated)
                    await self._patch_job(
                        manifests.record_patch(observed.job, self._run, self._settings.JOB_TTL_SECONDS, suspend=stop)
                    )
                return
            except (ClusterUnavailable, ObjectChanged) as exc:
                log.info("run %s: %s", run_id, exc)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _patch_job(self, patch: Manifest) -> None:
        self._cache.observe_job(await self._cluster.patch("Job", self._run.run_id, patch))

    def _open_log(self) -> PodLogFollower:
        if self._log is None:
            storage = self._storage
            self._log = PodLogFollower(
                self._run, self._cluster, self._cache, storage.archive, storage.publisher, lambda: self._observed
            )
        return self._log

    def _keep(self, run: Run) -> None:
        self._storage.recorder.record(run)
        self._run = run


def _nothing_runs(observed: ObservedRun) -> bool:
    if observed.pod is not None:
        return observed.pod_terminated
    return (
        observed.job is None
        or observed.job_deleted
        or jobs.suspended(observed.job)
        or jobs.finished(observed.job) is not None
    )


def _never_released(observed: ObservedRun) -> bool:
    return observed.job is not None and jobs.phase_of(observed.job) == labels.PHASE_QUEUED
