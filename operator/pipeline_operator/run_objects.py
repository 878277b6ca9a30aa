"""A run's Job and pod: read from the cache, written to Kubernetes."""

from __future__ import annotations

import contextlib

from launcher.cluster import jobs, labels, manifests, pods
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectMissing
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun

POD_REFUSED = "Kubernetes refuses the pod"
_DETAIL_CHARACTERS = 1000


class RunObjects:
    """The Job and pod of one run. Every write also updates the cache."""

    def __init__(self, run_id: str, job_uid: str | None, cluster: Cluster, cache: ClusterCache) -> None:
        self._run_id, self._uid, self._cluster, self._cache = run_id, job_uid, cluster, cache

    @property
    def observed(self) -> ObservedRun:
        """The run in the cache. If another Job of the same name has replaced its Job, its Job counts as deleted."""
        observed = self._cache.get(self._run_id)
        if observed.job is not None and observed.job["metadata"]["uid"] != self._uid:
            return ObservedRun(version=observed.version, job_deleted=True)
        return observed

    async def wait_for_change(self, observed: ObservedRun, seconds: float | None) -> None:
        """Wait until the run has changed since it was observed, at most `seconds`."""
        await self._cache.wait_for_change(self._run_id, observed, seconds)

    def notify(self) -> None:
        """Wake all tasks that wait for a change of the run."""
        self._cache.notify(self._run_id)

    async def refresh_pods(self) -> None:
        """List the run's pods, because a Job's events can arrive before those of its pod."""
        for pod in (await self._cluster.list("Pod", labels=f"{labels.JOB_NAME}={self._run_id}")).items:
            self._cache.observe_pod(pod)

    async def pod_refusal(self) -> str | None:
        """Return why Kubernetes refuses to create the pod, from the Job's newest event; None if it does not refuse."""
        fields = f"involvedObject.kind=Job,involvedObject.name={self._run_id},reason=FailedCreate"
        try:
            events = (await self._cluster.list("Event", fields=fields)).items
        except ClusterUnavailable:
            raise
        except ClusterError:  # the service account may not be allowed to list Events
            return None
        newest = max(events, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)
        return f"{POD_REFUSED}: {newest.get('message', '')}" if newest else None

    async def terminate(self, observed: ObservedRun, reason: Reason, detail: str) -> None:
        """Store the reason on the Job, for the next operator, then stop the pod. Can be called repeatedly."""
        with contextlib.suppress(ObjectMissing):
            if observed.job is not None and not observed.job_deleted:
                await self._store_reason(observed, observed.job, reason, detail)
            if observed.pod is not None and not observed.pod_terminated and reason is not Reason.REJECTED:
                await self._stop_pod(observed.pod)

    async def _store_reason(self, observed: ObservedRun, job: Manifest, reason: Reason, detail: str) -> None:
        """Store the reason. The same patch suspends a Job that has no pod or does not meet the requirements."""
        suspend = (observed.pod is None or reason is Reason.REJECTED) and not jobs.suspended(job)
        if suspend or jobs.termination_reason(job) is None:
            await self._patch_job(manifests.termination_patch(reason, detail[:_DETAIL_CHARACTERS], suspend=suspend))

    async def _stop_pod(self, pod: Manifest) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if not pods.scheduled(pod):  # no kubelet would enforce a deadline, and there is no log to keep
            await self._cluster.delete("Pod", name, uid)
        elif pod["spec"].get("activeDeadlineSeconds") != 1:
            self._cache.observe_pod(await self._cluster.patch("Pod", name, manifests.deadline_patch()))

    async def write_record(self, run: Run, ttl_seconds: int) -> None:
        """Write the final record to the Job, unless it has one. A Job that was cancelled in the queue is deleted."""
        try:
            await self._write_record(run, ttl_seconds)
        except ObjectMissing:
            self._observe_deletion()

    async def _write_record(self, run: Run, ttl_seconds: int) -> None:
        observed = self.observed
        if observed.job is None or observed.job_deleted or jobs.phase_of(observed.job) == labels.PHASE_RECORDED:
            return
        if run.reason == Reason.CANCELLED and run.started_at is None and observed.pod is None:
            await self._cluster.delete("Job", self._run_id, observed.job["metadata"]["uid"])
            self._observe_deletion()
            return
        can_run = not jobs.suspended(observed.job) and not jobs.finished_condition(observed.job)
        stop = can_run and (observed.queued or not observed.pod_terminated)  # it may have just been released
        await self._patch_job(manifests.record_patch(observed.job, run, ttl_seconds, suspend=stop))

    def _observe_deletion(self) -> None:
        """Mark the Job as deleted, without waiting for the event. Otherwise, it would seem to need its record again."""
        if (job := self.observed.job) is not None:
            self._cache.observe_job(job, deleted=True)

    async def _patch_job(self, patch: Manifest) -> None:
        self._cache.observe_job(await self._cluster.patch("Job", self._run_id, patch))
