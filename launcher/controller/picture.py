"""The picture: Jobs, their pods and the queue's switch as last seen. Whoever waits for news of them is woken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from launcher.cluster import jobs, labels, pods
from launcher.cluster.client import Listing

Manifest = Mapping[str, Any]
_LEFT_OUT = ("managedFields",)


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A run's Job and pod as last seen; one that has been deleted is kept, and `…_gone`. `version` counts the news."""

    version: int = 0
    job: Manifest | None = None
    job_gone: bool = False
    pod: Manifest | None = None
    pod_gone: bool = False

    @property
    def pod_over(self) -> bool:
        """Whether nothing of the run runs any more, as far as its pod tells."""
        return self.pod is not None and (self.pod_gone or pods.over(self.pod))

    @property
    def over(self) -> bool:
        """Whether nothing of the run runs any more, nor can: its pod is over, or it has none and its Job is gone."""
        return self.pod_over or (self.pod is None and self.job_gone)

    @property
    def busy(self) -> bool:
        """Whether the run holds a slot: it has been released and has not ended. What is rejected never held one."""
        if self.job is not None and jobs.phase_of(self.job) == labels.PHASE_QUEUED:
            return False
        if self.pod is not None and not self.pod_over:
            return True
        if self.job is None or self.job_gone or jobs.finished(self.job) or jobs.suspended(self.job):
            return False
        return self.pod is None


class Picture:
    """All runs that are not forgotten yet, by name."""

    def __init__(self) -> None:
        self._sights: dict[str, Sight] = {}
        self._news: dict[str, asyncio.Event] = {}
        self.changed = asyncio.Event()
        """Set at any change; whoever waits for it clears it."""
        self.paused = False
        self._switch_version = 0

    def sight(self, run_id: str) -> Sight:
        """Return a run as last seen."""
        return self._sights.get(run_id, Sight())

    def sights(self) -> Iterable[tuple[str, Sight]]:
        """Return every run as last seen."""
        return list(self._sights.items())

    def see_job(self, job: Manifest, *, gone: bool = False) -> None:
        """Take a Job as it now is; an older version than the one known is passed over."""
        name = jobs.name_of(job)
        sight = self.sight(name)
        if sight.job is not None and not _news(job, gone, sight.job, sight.job_gone):
            return
        pod = sight.pod if sight.pod is not None and pods.owner_of(sight.pod) == job["metadata"]["uid"] else None
        pod_gone = sight.pod_gone and pod is not None  # a pod of another Job that had this name is none of it
        self._put(name, replace(sight, job=_slim(job), job_gone=gone, pod=pod, pod_gone=pod_gone))

    def see_pod(self, pod: Manifest, *, gone: bool = False) -> None:
        """Take a pod as it now is; of several of one run the youngest counts."""
        name = pods.job_of(pod)
        if name is None:
            return
        sight = self.sight(name)
        if sight.job is not None and sight.job["metadata"]["uid"] != pods.owner_of(pod):
            return
        if sight.pod is not None:
            if sight.pod["metadata"]["uid"] == pod["metadata"]["uid"]:
                if not _news(pod, gone, sight.pod, sight.pod_gone):
                    return
            elif gone or _age(pod) < _age(sight.pod):
                return
        self._put(name, replace(sight, pod=_slim(pod), pod_gone=gone))

    def see_switch(self, config_map: Manifest, *, gone: bool = False) -> None:
        """Take the queue's switch as it now is."""
        if _version(config_map) < self._switch_version:
            return
        self._switch_version = _version(config_map)
        self.paused = not gone and (config_map.get("data") or {}).get("paused") == "true"
        self.changed.set()

    def see_all(self, listed_jobs: Listing, listed_pods: Listing) -> None:
        """Take everything there is: what is known, not among it, and not newer than the listing has been deleted."""
        for job in listed_jobs.items:
            self.see_job(job)
        for pod in listed_pods.items:
            self.see_pod(pod)
        there = {each["metadata"]["uid"] for each in (*listed_jobs.items, *listed_pods.items)}
        for name, sight in self.sights():
            job_gone = sight.job_gone or _missing(sight.job, there, listed_jobs.version)
            pod_gone = sight.pod_gone or _missing(sight.pod, there, listed_pods.version)
            if (job_gone, pod_gone) != (sight.job_gone, sight.pod_gone):
                self._put(name, replace(sight, job_gone=job_gone, pod_gone=pod_gone))

    def forget(self, run_id: str) -> None:
        """Drop a run."""
        self._sights.pop(run_id, None)
        if event := self._news.pop(run_id, None):
            event.set()

    async def news(self, run_id: str, seen: Sight, seconds: float | None) -> None:
        """Wait until there is news of a run since it was seen like this, at most so long."""
        if self.sight(run_id).version != seen.version:
            return
        event = self._news.setdefault(run_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def wake(self, run_id: str) -> None:
        """Wake whoever waits for news of a run."""
        self._put(run_id, self.sight(run_id))

    def _put(self, name: str, sight: Sight) -> None:
        self._sights[name] = replace(sight, version=self.sight(name).version + 1)
        if event := self._news.pop(name, None):
            event.set()
        self.changed.set()


def _version(manifest: Manifest) -> int:
    """Versions can be compared as numbers: https://kep.k8s.io/5504."""
    return int(manifest["metadata"]["resourceVersion"])


def _news(new: Manifest, new_gone: bool, old: Manifest, old_gone: bool) -> bool:
    return _version(new) > _version(old) or (_version(new) == _version(old) and new_gone and not old_gone)


def _missing(known: Manifest | None, there: Set[str], version: int) -> bool:
    """Say whether what is known was there no more at this version of the cluster."""
    return known is not None and known["metadata"]["uid"] not in there and _version(known) <= version


def _age(pod: Manifest) -> tuple[str, int]:
    return pod["metadata"]["creationTimestamp"], _version(pod)


def _slim(manifest: Manifest) -> Manifest:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _LEFT_OUT}
    return {**manifest, "metadata": metadata}
