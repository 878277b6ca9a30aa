"""The cache: Jobs, their pods and the queue's switch as last seen. Whoever waits for news of them is woken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace

from launcher.cluster import jobs, labels, pods
from launcher.cluster.port import Listing, Manifest

_LEFT_OUT = ("managedFields",)


@dataclass(frozen=True, kw_only=True)
class ObservedRun:
    """A run's Job and pod as last seen; one that has been deleted is kept, and `…_gone`. `version` counts the news."""

    version: int = 0
    job: Manifest | None = None
    job_deleted: bool = False
    pod: Manifest | None = None
    pod_deleted: bool = False

    @property
    def pod_terminated(self) -> bool:
        """Whether nothing of the run runs any more, as far as its pod tells."""
        return self.pod is not None and (self.pod_deleted or pods.terminated(self.pod))

    @property
    def terminated(self) -> bool:
        """Whether nothing of the run runs any more, nor can: its pod is over, or it has none and its Job is gone."""
        return self.pod_terminated or (self.pod is None and self.job_deleted)

    @property
    def holds_slot(self) -> bool:
        """Whether the run holds a slot: it has been released and has not ended. What is rejected never held one."""
        if self.job is not None and jobs.phase_of(self.job) == labels.PHASE_QUEUED:
            return False
        if self.pod is not None and not self.pod_terminated:
            return True
        if self.job is None or self.job_deleted or jobs.finished(self.job) or jobs.suspended(self.job):
            return False
        return self.pod is None


class ClusterCache:
    """All runs that are not forgotten yet, by name."""

    def __init__(self) -> None:
        self._runs: dict[str, ObservedRun] = {}
        self._changes: dict[str, asyncio.Event] = {}
        self.changed = asyncio.Event()
        """Set at any change; whoever waits for it clears it."""
        self.paused = False
        self._switch_version = 0

    def get(self, run_id: str) -> ObservedRun:
        """Return a run as last seen."""
        return self._runs.get(run_id, ObservedRun())

    def items(self) -> Iterable[tuple[str, ObservedRun]]:
        """Return every run as last seen."""
        return list(self._runs.items())

    def observe_job(self, job: Manifest, *, gone: bool = False) -> None:
        """Take a Job as it now is; an older version than the one known is passed over."""
        name = jobs.name_of(job)
        observed = self.get(name)
        if observed.job is not None and not _supersedes(job, gone, observed.job, observed.job_deleted):
            return
        pod = (
            observed.pod if observed.pod is not None and pods.owner_of(observed.pod) == job["metadata"]["uid"] else None
        )
        pod_deleted = observed.pod_deleted and pod is not None
        self._put(name, replace(observed, job=_slim(job), job_deleted=gone, pod=pod, pod_deleted=pod_deleted))

    def observe_pod(self, pod: Manifest, *, gone: bool = False) -> None:
        """Take a pod as it now is; of several of one run the youngest counts."""
        name = pods.job_of(pod)
        if name is None:
            return
        observed = self.get(name)
        if observed.job is not None and observed.job["metadata"]["uid"] != pods.owner_of(pod):
            return
        if observed.pod is not None:
            if observed.pod["metadata"]["uid"] == pod["metadata"]["uid"]:
                if not _supersedes(pod, gone, observed.pod, observed.pod_deleted):
                    return
            elif gone or _age(pod) < _age(observed.pod):
                return
        self._put(name, replace(observed, pod=_slim(pod), pod_deleted=gone))

    def observe_switch(self, config_map: Manifest, *, gone: bool = False) -> None:
        """Take the queue's switch as it now is."""
        if _version(config_map) < self._switch_version:
            return
        self._switch_version = _version(config_map)
        self.paused = not gone and (config_map.get("data") or {}).get("paused") == "true"
        self.changed.set()

    def resync(self, listed_jobs: Listing, listed_pods: Listing) -> None:
        """Take everything there is: what is known, not among it, and not newer than the listing has been deleted."""
        for job in listed_jobs.items:
            self.observe_job(job)
        for pod in listed_pods.items:
            self.observe_pod(pod)
        there = {each["metadata"]["uid"] for each in (*listed_jobs.items, *listed_pods.items)}
        for name, observed in self.items():
            job_deleted = observed.job_deleted or _missing(observed.job, there, listed_jobs.version)
            pod_deleted = observed.pod_deleted or _missing(observed.pod, there, listed_pods.version)
            if (job_deleted, pod_deleted) != (observed.job_deleted, observed.pod_deleted):
                self._put(name, replace(observed, job_deleted=job_deleted, pod_deleted=pod_deleted))

    def forget(self, run_id: str) -> None:
        """Drop a run."""
        self._runs.pop(run_id, None)
        if event := self._changes.pop(run_id, None):
            event.set()

    async def wait_for_change(self, run_id: str, seen: ObservedRun, seconds: float | None) -> None:
        """Wait until there is news of a run since it was seen like this, at most so long."""
        if self.get(run_id).version != seen.version:
            return
        event = self._changes.setdefault(run_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def notify(self, run_id: str) -> None:
        """Wake whoever waits for news of a run."""
        self._put(run_id, self.get(run_id))

    def _put(self, name: str, observed: ObservedRun) -> None:
        self._runs[name] = replace(observed, version=self.get(name).version + 1)
        if event := self._changes.pop(name, None):
            event.set()
        self.changed.set()


def _version(manifest: Manifest) -> int:
    """Versions can be compared as numbers: https://kep.k8s.io/5504."""
    return int(manifest["metadata"]["resourceVersion"])


def _supersedes(new: Manifest, new_gone: bool, old: Manifest, old_gone: bool) -> bool:
    return _version(new) > _version(old) or (_version(new) == _version(old) and new_gone and not old_gone)


def _missing(known: Manifest | None, there: Set[str], version: int) -> bool:
    """Say whether what is known was there no more at this version of the cluster."""
    return known is not None and known["metadata"]["uid"] not in there and _version(known) <= version


def _age(pod: Manifest) -> tuple[str, int]:
    return pod["metadata"]["creationTimestamp"], _version(pod)


def _slim(manifest: Manifest) -> Manifest:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _LEFT_OUT}
    return {**manifest, "metadata": metadata}
