"""The supervision of one run: from the first sight of its Job to its record, in one task.

It looks, decides (`decisions`), and does: notes what the run waits for, starts its log pump, ends it, records its end.
Killed at any moment, the next operator begins it again from what archive and cluster say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import timedelta

from prometheus_client import Counter

from launcher.cluster import jobs, labels, manifests, pods
from launcher.cluster.client import Cluster
from launcher.controller.decisions import Conclude, End, Facts, Limits, Look, next_step
from launcher.controller.picture import Picture, Sight
from launcher.controller.pumping import PodLog
from launcher.controller.settings import OperatorSettings
from launcher.domain.errors import ClusterUnavailable, ObjectMissing
from launcher.domain.loglines import Receipt
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.storage import Storage

_RETRY_SECONDS = 0.5
_SIZE_SECONDS = 10.0  # between two looks at the size of a run's artifacts
_NOT_HELD_BACK_AFTER = timedelta(days=1)  # a store that is away for longer no longer keeps a Job from its end
log = logging.getLogger(__name__)
RUNS = Counter("slipway_runs_total", "Runs that have ended", ["pipeline", "status", "reason"])


class Supervision:
    """One run's life as the operator sees it."""

    def __init__(
        self, run: Run, cluster: Cluster, picture: Picture, storage: Storage, settings: OperatorSettings
    ) -> None:
        self._run = run
        self._cluster, self._picture, self._storage, self._settings = cluster, picture, storage, settings
        self._limits = Limits(grace_seconds=settings.grace_seconds, max_artifact_bytes=settings.MAX_ARTIFACT_BYTES)
        self._facts = Facts(now=now(), cause_since=now())
        self._cause: Reason | None = None
        self._log: PodLog | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def run(self) -> Run:
        """The run as it was last recorded."""
        return self._run

    async def follow(self) -> None:
        """See the run through."""
        try:
            if not self._run.status.terminal:
                self._keep(self._run)
                await self._live()
            await self._finish()
        finally:
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.gather(self._pump, return_exceptions=True)
            if self._log is not None:
                self._log.stop()

    async def _live(self) -> None:
        while True:
            sight = self._picture.sight(self._run.run_id)
            self._attend(sight)
            self._facts = replace(self._facts, now=now(), artifact_bytes=self._artifact_bytes(sight))
            step = next_step(self._run, sight, self._facts, self._limits)
            try:
                match step:
                    case Conclude(outcome=outcome):
                        await self._conclude(outcome)
                        return
                    case End(reason=reason, detail=detail):
                        await self._end(sight, reason, detail)
                        await self._picture.news(self._run.run_id, sight, self._settings.TERMINATION_GRACE_SECONDS + 5)
                    case Look():
                        await self._wait(sight, step)
            except ClusterUnavailable as exc:
                log.info("run %s: %s", self._run.run_id, exc)
                await asyncio.sleep(_RETRY_SECONDS)
            except OSError as exc:  # a full disk: the record waits for room, it is not lost
                log.error("run %s: its record cannot be written: %s", self._run.run_id, exc)
                await asyncio.sleep(_RETRY_SECONDS)

    def _attend(self, sight: Sight) -> None:
        """Note what has changed: the wish to cancel, the container's start; start the pump."""
        if sight.job is not None and jobs.cancelled(sight.job) and not self._run.cancel_requested:
            self._keep(self._run.cancelling(now()))
        if sight.pod is None:
            return
        if self._pump is None and pods.scheduled(sight.pod) and not self._rejected(sight):
            self._open_log()
            assert self._log is not None
            self._pump = asyncio.create_task(self._log.follow(), name=f"log {self._run.run_id}")
        began = (self._log is not None and self._log.opened) or pods.started_at(sight.pod) is not None
        if began and self._run.status is RunStatus.QUEUED and not self._rejected(sight):
            self._keep(self._run.started(now()))

    def _rejected(self, sight: Sight) -> bool:
        return sight.job is not None and jobs.phase_of(sight.job) == labels.PHASE_QUEUED

    async def _wait(self, sight: Sight, look: Look) -> None:
        if look.cause is not self._cause:
            self._cause = look.cause
            self._facts = replace(self._facts, cause_since=now())
        why = look.waiting_for
        if why and look.cause is Reason.CANNOT_START and sight.pod is None:
            why = await self._why_no_pod() or why
        if self._run.status is RunStatus.QUEUED and why != self._run.waiting_for and why is not None:
            self._keep(self._run.waiting(why[:500], now()))
        seconds = look.seconds
        if self._run.status is RunStatus.RUNNING:
            seconds = min(_SIZE_SECONDS, look.seconds or _SIZE_SECONDS)
        await self._picture.news(self._run.run_id, sight, seconds)

    async def _why_no_pod(self) -> str | None:
        fields = f"involvedObject.kind=Job,involvedObject.name={self._run.run_id},reason=FailedCreate"
        events = await self._cluster.list("Event", fields=fields)
        return f"Kubernetes refuses the pod: {events[-1].get('message', '')}" if events else None

    async def _end(self, sight: Sight, reason: Reason, detail: str) -> None:
        """End the run: its reason is stored first, so that whoever goes on after us knows it."""
        run_id = self._run.run_id
        if reason is Reason.CANNOT_START and sight.pod is None:
            detail = await self._why_no_pod() or detail
        self._facts = replace(self._facts, ending_for=reason, detail=detail)
        with contextlib.suppress(ObjectMissing):
            if sight.job is not None and not sight.job_gone:
                if reason is Reason.REJECTED:
                    await self._patch_job({**manifests.end_for_patch(reason), **manifests.stop_patch()})
                    return
                if jobs.ended_for(sight.job) is None:
                    await self._patch_job(manifests.end_for_patch(reason))
                if sight.pod is None:
                    await self._cluster.delete("Job", run_id, sight.job["metadata"]["uid"])
            if sight.pod is not None and not sight.pod_over:
                name, uid = sight.pod["metadata"]["name"], sight.pod["metadata"]["uid"]
                if not pods.scheduled(sight.pod):
                    await self._cluster.delete("Pod", name, uid)
                elif sight.pod["spec"].get("activeDeadlineSeconds") != 1:
                    await self._cluster.patch("Pod", name, manifests.deadline_patch())

    async def _conclude(self, outcome: Outcome) -> None:
        """Record the run's end: the archive at once, the stores as soon as they can."""
        if self._pump is not None:
            await self._pump
        run_id = self._run.run_id
        receipt = Receipt(complete=True)
        if self._log is not None or outcome.status is RunStatus.FAILED:
            self._open_log()
            assert self._log is not None
            note = None if self._log.opened else outcome.message
            receipt = self._log.close(note)
            self._log = None
        pipeline = self._settings.pipelines.get(self._run.pipeline)
        artifacts = self._storage.artifacts.discover(run_id, pipeline.artifacts) if pipeline else {}
        self._keep(self._run.ended(outcome, now(), receipt, artifacts))
        RUNS.labels(self._run.pipeline, outcome.status, outcome.reason).inc()

    async def _finish(self) -> None:
        """Write the record onto the Job once every store has it; delete a Job that never had a pod."""
        run_id = self._run.run_id
        completed_at = self._run.completed_at or now()
        while self._storage.recorder.owes(run_id) and now() - completed_at < _NOT_HELD_BACK_AFTER:
            await asyncio.sleep(min(1.0, 0.02 + (now() - completed_at).total_seconds() / 10))
        while True:
            sight = self._picture.sight(run_id)
            if sight.job is None or sight.job_gone or jobs.phase_of(sight.job) == labels.PHASE_RECORDED:
                return
            try:
                if self._run.reason == Reason.CANCELLED and self._run.started_at is None and sight.pod is None:
                    await self._cluster.delete("Job", run_id, sight.job["metadata"]["uid"])
                else:
                    await self._patch_job(manifests.record_patch(self._run, self._settings.JOB_TTL_SECONDS))
                return
            except ObjectMissing:
                return
            except ClusterUnavailable as exc:
                log.info("run %s: %s", run_id, exc)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _patch_job(self, patch: dict[str, object]) -> None:
        self._picture.see_job(await self._cluster.patch("Job", self._run.run_id, patch))

    def _open_log(self) -> None:
        if self._log is None:
            self._log = PodLog(self._run, self._cluster, self._picture, self._storage.archive, self._storage.publisher)

    def _artifact_bytes(self, sight: Sight) -> int:
        running = sight.pod is not None and self._run.status is RunStatus.RUNNING
        return self._storage.artifacts.size(self._run.run_id) if running else 0

    def _keep(self, run: Run) -> None:
        self._storage.recorder.record(run)
        self._run = run
