"""Watching: records what Kubernetes does with pods, Jobs and Events, by `kubectl get -w`, until it is stopped.

kubectl lists first and then follows, so nothing is missed after `start` has returned. A watch that ends (the API server
was restarted) is begun anew and noted as a hole; what vanished meanwhile is recorded as deleted right after its last
change: such a history may show too few pods alive, never too many.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from checkers.changes import (
    JOB_LABEL,
    RUN_LABEL,
    ClusterEvent,
    JobChange,
    Object,
    PodChange,
    cluster_event,
    job_change,
    pod_change,
)
from checkers.watches import START_SECONDS, Watch, WatchError


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was seen so far, in the order it was seen."""

    pods: Sequence[PodChange]
    jobs: Sequence[JobChange]
    events: Sequence[ClusterEvent]
    holes: Sequence[str]


class Watcher:
    """Watches a namespace's runs; `kubectl` is the command's beginning, with its options for the cluster."""

    def __init__(self, kubectl: Sequence[str], namespace: str, selector: str = RUN_LABEL) -> None:
        self._news = threading.Condition()
        place = ["--namespace", namespace]
        self._pods = Watch(kubectl, ["pods", *place, "--selector", selector], pod_change, self._news)
        self._jobs = Watch(kubectl, ["jobs", *place, "--selector", selector], job_change, self._news)
        self._events = Watch(kubectl, ["events", *place], cluster_event, self._news)
        self._watches = (self._pods, self._jobs, self._events)

    def start(self) -> None:
        """Begin, and return once everything that happens from now on will be seen."""
        deadline = time.monotonic() + START_SECONDS
        for watch in self._watches:
            watch.start()
        try:
            for watch in self._watches:
                watch.wait(deadline)
        except WatchError:
            self.stop()
            raise

    def stop(self) -> None:
        """End all kubectls."""
        for watch in self._watches:
            watch.stop()

    def watched(self) -> Watched:
        """Return what was seen so far."""
        with self._news:
            return Watched(
                pods=list(self._pods.changes),
                jobs=list(self._jobs.changes),
                events=list(self._events.changes),
                holes=[hole for watch in self._watches for hole in watch.holes],
            )

    def last_pods(self, run_id: str) -> list[Object]:
        """Return a run's pods as they were last seen, also those that are gone."""
        with self._news:
            pods = list(self._pods.last.values())
        return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(JOB_LABEL) == run_id]

    def last_job(self, run_id: str) -> Object | None:
        """Return a run's Job as it was last seen, also where it is gone."""
        with self._news:
            return next((job for job in self._jobs.last.values() if job["metadata"]["name"] == run_id), None)

    def wait_until(self, true: Callable[[Watched], bool], seconds: float) -> Watched:
        """Return what was seen once it is as wanted; changes still under way would be missed by stopping."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not true(watched := self.watched()):
                if not self._news.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise WatchError(
                        f"This was not seen within {seconds:g} s; {len(watched.pods)} changes of pods were."
                    )
            return watched

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
