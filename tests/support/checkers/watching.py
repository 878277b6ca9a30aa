"""Records what Kubernetes does with pods, Jobs and Events, using `kubectl get -w`, until it is stopped.

kubectl lists first and then watches, so nothing is missed after `start` has returned. A watch that ends (the API server
restarted) is restarted and noted as a hole; objects that vanished meanwhile are recorded as deleted right after their
last change. Such a history may show too few live pods, never too many.
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
    """The changes so far, in the order in which they were seen."""

    pods: Sequence[PodChange]
    jobs: Sequence[JobChange]
    events: Sequence[ClusterEvent]
    holes: Sequence[str]


class Watcher:
    """Watches a namespace's runs; `kubectl` is the command with its options for the cluster."""

    def __init__(self, kubectl: Sequence[str], namespace: str, selector: str = RUN_LABEL) -> None:
        self._news = threading.Condition()
        place = ["--namespace", namespace]
        self._pods = Watch(kubectl, ["pods", *place, "--selector", selector], pod_change, self._news)
        self._jobs = Watch(kubectl, ["jobs", *place, "--selector", selector], job_change, self._news)
        self._events = Watch(kubectl, ["events", *place], cluster_event, self._news)
        self._watches = (self._pods, self._jobs, self._events)

    def start(self) -> None:
        """Start; return once every later change will be recorded."""
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
        """Stop every kubectl."""
        for watch in self._watches:
            watch.stop()

    def watched(self) -> Watched:
        """Return the changes so far."""
        with self._news:
            return Watched(
                pods=list(self._pods.changes),
                jobs=list(self._jobs.changes),
                events=list(self._events.changes),
                holes=[hole for watch in self._watches for hole in watch.holes],
            )

    def last_pods(self, run_id: str) -> list[Object]:
        """Return the last known state of a run's pods, including deleted ones."""
        with self._news:
            pods = list(self._pods.last.values())
        return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(JOB_LABEL) == run_id]

    def last_job(self, run_id: str) -> Object | None:
        """Return the last known state of a run's Job, even if it was deleted."""
        with self._news:
            return next((job for job in self._jobs.last.values() if job["metadata"]["name"] == run_id), None)

    def wait_until(self, condition: Callable[[Watched], bool], seconds: float) -> Watched:
        """Wait until the recorded changes meet a condition, and return them."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not condition(watched := self.watched()):
                if not self._news.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise WatchError(
                        f"The condition was not met within {seconds:g} s, after {len(watched.pods)} changes to pods."
                    )
            return watched

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
