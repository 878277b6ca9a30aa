"""The picture: Jobs, their pods and the queue's switch as last seen. Whoever waits for news of them is woken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.cluster import jobs, pods

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
    def busy(self) -> bool:
        """Whether the run holds a slot: it has been released and has not ended."""
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
        if _newer(job, sight.job):
            again = sight.job is not None and job["metadata"]["uid"] != sight.job["metadata"]["uid"]
            self._put(name, replace(Sight() if again else sight, job=_slim(job), job_gone=gone))

    def see_pod(self, pod: Manifest, *, gone: bool = False) -> None:
        """Take a pod as it now is; of several of one run the youngest counts."""
        name = pods.job_of(pod)
        if name is None:
            return
        sight = self.sight(name)
        if sight.pod is not None and sight.pod["metadata"]["uid"] != pod["metadata"]["uid"]:
            if gone or _age(pod) < _age(sight.pod):
                return
        elif not _newer(pod, sight.pod):
            return
        self._put(name, replace(sight, pod=_slim(pod), pod_gone=gone))

    def see_switch(self, config_map: Manifest, *, gone: bool = False) -> None:
        """Take the queue's switch as it now is."""
        self.paused = not gone and (config_map.get("data") or {}).get("paused") == "true"
        self.changed.set()

    def see_all(self, listed_jobs: Iterable[Manifest], listed_pods: Iterable[Manifest]) -> None:
        """Take everything there is: what is known and not among it has been deleted."""
        listed_jobs, listed_pods = list(listed_jobs), list(listed_pods)
        for job in listed_jobs:
            self.see_job(job)
        for pod in listed_pods:
            self.see_pod(pod)
        there = {each["metadata"]["uid"] for each in (*listed_jobs, *listed_pods)}
        for name, sight in self.sights():
            job_gone = sight.job is not None and sight.job["metadata"]["uid"] not in there
            pod_gone = sight.pod is not None and sight.pod["metadata"]["uid"] not in there
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


def _newer(new: Manifest, old: Manifest | None) -> bool:
    """Versions of one kind can be compared as numbers: https://kep.k8s.io/5504."""
    return old is None or int(new["metadata"]["resourceVersion"]) >= int(old["metadata"]["resourceVersion"])


def _age(pod: Manifest) -> tuple[str, int]:
    return pod["metadata"]["creationTimestamp"], int(pod["metadata"]["resourceVersion"])


def _slim(manifest: Manifest) -> Manifest:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _LEFT_OUT}
    return {**manifest, "metadata": metadata}
