"""The cluster cache: Jobs, their pods and the queue's pause switch, as last observed. Tasks can wait for changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Set
from dataclasses import dataclass, replace
from datetime import datetime

from launcher.cluster import jobs, labels, pods
from launcher.cluster.port import Manifest
from launcher.domain.runs import now


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedRun:
    """A run's Job and pod as last observed, without what nobody reads. Deleted objects are kept and marked.

    `version` increases on each change.
    """

    version: int = 0
    job: Manifest | None = None
    job_deleted: bool = False
    pod: Manifest | None = None
    pod_deleted: bool = False

    @property
    def pod_terminated(self) -> bool:
        """Whether the run's pod has terminated or was deleted."""
        return self.pod is not None and (self.pod_deleted or pods.terminated(self.pod))

    @property
    def terminated(self) -> bool:
        """Whether the run's log is finished: its pod has terminated, or it has no pod and its Job was deleted."""
        return self.pod_terminated or (self.pod is None and self.job_deleted)

    @property
    def queued(self) -> bool:
        """Whether the run's Job has not been released."""
        return self.job is not None and jobs.phase_of(self.job) == labels.PHASE_QUEUED

    @property
    def stopped(self) -> bool:
        """Whether nothing of the run is running, and Kubernetes will not start it."""
        if self.pod is not None:
            return self.pod_terminated
        if self.job is None or self.job_deleted or jobs.suspended(self.job):
            return True
        return jobs.finished_condition(self.job) is not None

    @property
    def holds_slot(self) -> bool:
        """Whether the run holds a slot: it was released and has not stopped. A rejected run never holds one."""
        return not self.queued and not self.stopped


class ClusterCache:
    """The observed runs, by run id. They stay until they are evicted."""

    def __init__(self) -> None:
        self._runs: dict[str, ObservedRun] = {}
        self._with_slot: dict[str, ObservedRun] = {}
        self._changes: dict[str, asyncio.Event] = {}
        self.changed = asyncio.Event()
        """Set on every change. The task that waits for it clears it."""
        self.on_change: Callable[[str], object] = lambda run_id: None
        """Called with the run id after each change of a run."""
        self.paused = False
        self.evicted_at: datetime | None = None
        """When a node that lacked disk space or memory last evicted a run."""
        self._queue_config_version = 0

    def get(self, run_id: str) -> ObservedRun:
        """Return a run as last observed; an empty one if nothing was observed."""
        return self._runs.get(run_id, ObservedRun())

    def items(self) -> Iterable[tuple[str, ObservedRun]]:
        """Return every run with its run id."""
        return list(self._runs.items())

    @property
    def with_slot(self) -> Collection[ObservedRun]:
        """The runs that hold a slot."""
        return self._with_slot.values()

    def observe_job(self, job: Manifest, *, deleted: bool = False) -> None:
        """Store a Job, unless a newer version is stored."""
        name = jobs.name_of(job)
        observed = self.get(name)
        if observed.job is not None and not _supersedes(job, deleted, observed.job, observed.job_deleted):
            return
        pod = (
            observed.pod if observed.pod is not None and pods.job_uid(observed.pod) == job["metadata"]["uid"] else None
        )
        pod_deleted = observed.pod_deleted and pod is not None
        self._put(name, replace(observed, job=jobs.slim(job), job_deleted=deleted, pod=pod, pod_deleted=pod_deleted))

    def observe_pod(self, pod: Manifest, *, deleted: bool = False) -> None:
        """Store a pod, unless a newer version is stored. If a run has several pods, the newest counts."""
        name = pods.job_name(pod)
        if name is None:
            return
        observed = self.get(name)
        if observed.job is not None and observed.job["metadata"]["uid"] != pods.job_uid(pod):
            return
        if observed.pod is not None:
            if observed.pod["metadata"]["uid"] == pod["metadata"]["uid"]:
                if not _supersedes(pod, deleted, observed.pod, observed.pod_deleted):
                    return
            elif deleted or _age(pod) < _age(observed.pod):
                return
        if (evicted_at := pods.evicted_at(pod)) is not None:
            evicted_at = min(evicted_at, now())  # the node's clock can be ahead
            self.evicted_at = max(evicted_at, self.evicted_at or evicted_at)
        self._put(name, replace(observed, pod=pods.slim(pod), pod_deleted=deleted))

    def observe_queue_config(self, config_map: Manifest, *, deleted: bool = False) -> None:
        """Store whether the queue is paused."""
        if _version(config_map) <= self._queue_config_version:
            return
        self._queue_config_version = _version(config_map)
        self.paused = not deleted and (config_map.get("data") or {}).get("paused") == "true"
        self.changed.set()

    def mark_missing(self, listed: Set[str], *, jobs_version: int, pods_version: int) -> None:
        """Mark stored objects as deleted that complete lists of these versions do not have. `listed` are their uids."""
        for name, observed in self.items():
            job_deleted = observed.job_deleted or _missing(observed.job, listed, jobs_version)
            pod_deleted = observed.pod_deleted or _missing(observed.pod, listed, pods_version)
            if (job_deleted, pod_deleted) != (observed.job_deleted, observed.pod_deleted):
                self._put(name, replace(observed, job_deleted=job_deleted, pod_deleted=pod_deleted))

    def evict(self, run_id: str) -> None:
        """Remove a run."""
        self._runs.pop(run_id, None)
        self._with_slot.pop(run_id, None)
        if event := self._changes.pop(run_id, None):
            event.set()

    async def wait_for_change(self, run_id: str, observed: ObservedRun, seconds: float | None) -> None:
        """Wait until a run has changed since it was observed, at most `seconds`."""
        if self.get(run_id).version != observed.version:
            return
        event = self._changes.setdefault(run_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def notify(self, run_id: str) -> None:
        """Wake all tasks that wait for a change of the run."""
        self._put(run_id, self.get(run_id))

    def _put(self, name: str, observed: ObservedRun) -> None:
        self._runs[name] = observed = replace(observed, version=self.get(name).version + 1)
        if observed.holds_slot:
            self._with_slot[name] = observed
        else:
            self._with_slot.pop(name, None)
        if event := self._changes.pop(name, None):
            event.set()
        self.changed.set()
        self.on_change(name)


def _version(manifest: Manifest) -> int:
    """Resource versions can be compared as numbers: https://kep.k8s.io/5504."""
    return int(manifest["metadata"]["resourceVersion"])


def _supersedes(new: Manifest, new_deleted: bool, old: Manifest, old_deleted: bool) -> bool:
    return _version(new) > _version(old) or (_version(new) == _version(old) and new_deleted and not old_deleted)


def _missing(stored: Manifest | None, listed: Set[str], version: int) -> bool:
    """Whether a stored object no longer existed at this version of the cluster."""
    return stored is not None and stored["metadata"]["uid"] not in listed and _version(stored) <= version


def _age(pod: Manifest) -> tuple[str, int]:
    return pod["metadata"]["creationTimestamp"], _version(pod)
