"""The queue checker: the limit and the order are kept; also measures how long a slot stays free while runs wait.

The order of changes comes only from resource versions, so counting live pods and ordering releases needs no clock and
no tolerance. Durations use the watcher's clock, as Kubernetes' times have whole seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checkers.changes import DELETED, ClusterEvent, JobChange, PodChange, in_order
from checkers.findings import Finding


class QueueFault(StrEnum):
    """What can be wrong with a queue."""

    LIMIT_EXCEEDED = "more pods alive than the limit"
    OUT_OF_ORDER = "released before a run that was ahead of it"
    FAILED_CREATE = "Kubernetes rejected a pod"
    HOLE = "the watch was interrupted: changes in the meantime are unknown"


@dataclass(frozen=True, kw_only=True)
class QueuedRun:
    """A run and its position in the queue's order.

    `queued_at` is in microseconds, from its annotation; `queued` in seconds, a later time when it was certainly in the
    queue. `left` is when it left the queue without being released (cancelled).
    """

    run_id: str
    priority: int = 0
    queued_at: int
    queued: float
    left: float = math.inf

    @property
    def key(self) -> tuple[int, int, str]:
        """Higher priority first, then earlier queued-at, then the run id."""
        return -self.priority, self.queued_at, self.run_id


@dataclass(frozen=True, kw_only=True)
class QueueHistory:
    """What the watcher recorded, and the runs that were launched. `until` is when it stopped watching."""

    limit: int
    runs: Sequence[QueuedRun]
    pods: Sequence[PodChange]
    jobs: Sequence[JobChange] = ()
    events: Sequence[ClusterEvent] = ()
    holes: Sequence[str] = ()
    holes_allowed: bool = False
    until: float | None = None


@dataclass(frozen=True)
class Spread:
    """Percentiles of seconds, by nearest rank; zeros if there are none."""

    count: int
    p50: float
    p95: float
    maximum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Compute the percentiles."""
        ranked = sorted(seconds) or [0.0]
        p50, p95 = (ranked[max(0, math.ceil(share * len(ranked)) - 1)] for share in (0.5, 0.95))
        return cls(len(seconds), p50, p95, ranked[-1])


def check(history: QueueHistory) -> list[Finding]:
    """Return everything that is wrong with a queue, except idle slots: see `idle_seconds`."""
    found = [*_limit_faults(history)]
    found += _release_faults(history) if history.jobs else _creation_faults(history)
    run_ids = {run.run_id for run in history.runs}
    refused = {event.uid: event for event in history.events if event.reason == "FailedCreate"}
    for event in refused.values():
        if event.about_kind == "Job" and event.about_name in run_ids:
            found.append(Finding(QueueFault.FAILED_CREATE, event.about_name, event.message))
    if not history.holes_allowed:
        found += [Finding(QueueFault.HOLE, "-", hole) for hole in history.holes]
    return found


def _limit_faults(history: QueueHistory) -> Iterator[Finding]:
    alive: dict[str, str] = {}
    for change in in_order(history.pods):
        if not change.alive:
            alive.pop(change.uid, None)
        elif change.uid not in alive:
            alive[change.uid] = change.name
            if len(alive) > history.limit:
                detail = f"{len(alive)} at resource version {change.resource_version}: {', '.join(alive.values())}"
                yield Finding(QueueFault.LIMIT_EXCEEDED, change.run_id, detail)


def _release_faults(history: QueueHistory) -> Iterator[Finding]:
    """Check each release: which waiting runs were ahead of it at that resource version?"""
    runs = {run.run_id: run for run in history.runs}
    waiting: dict[str, QueuedRun] = {}
    settled: set[str] = set()
    for change in in_order(history.jobs):
        run = runs.get(change.run_id)
        if run is None or change.run_id in settled:
            continue
        if change.waiting:
            waiting[change.run_id] = run
            continue
        settled.add(change.run_id)
        waiting.pop(change.run_id, None)
        if not change.suspended and not change.cancelled and change.kind != DELETED:
            ahead = [other for other in waiting.values() if other.key < run.key]
            yield from _ahead(run, ahead, f"resource version {change.resource_version}")


def _creation_faults(history: QueueHistory) -> Iterator[Finding]:
    """Check each pod's creation instead, if no Jobs were watched.

    The Job controller may create the pods of two Jobs released together in either order: watch Jobs if more than one
    slot can be free at once.
    """
    runs = {run.run_id: run for run in history.runs}
    started: set[str] = set()
    for change in in_order(history.pods):
        run = runs.get(change.run_id)
        if run is None or change.run_id in started:
            continue
        started.add(change.run_id)
        ahead = [other for other in _waiting(history, started, change.seen) if other.key < run.key]
        yield from _ahead(run, ahead, f"{change.seen:.3f} s")


def _ahead(run: QueuedRun, ahead: Sequence[QueuedRun], moment: str) -> Iterator[Finding]:
    if ahead:
        first = min(ahead, key=lambda other: other.key)
        detail = f"at {moment}, key {run.key}; {len(ahead)} were ahead of it, first {first.key}"
        yield Finding(QueueFault.OUT_OF_ORDER, run.run_id, detail)


def _waiting(history: QueueHistory, started: set[str], moment: float) -> list[QueuedRun]:
    return [run for run in history.runs if run.run_id not in started and run.queued < moment < run.left]


def idle_seconds(history: QueueHistory) -> list[float]:
    """Return, for each slot that became free while a run was waiting, how long it stayed free.

    From when a pod was seen to be finished until the next pod was seen. A slot that was never taken counts until the
    end of the history, if a run is still waiting.
    """
    idle: list[float] = []
    freed: list[float] = []
    alive: set[str] = set()
    known: set[str] = set()
    started: set[str] = set()
    changes = in_order(history.pods)
    for change in changes:
        if change.alive and change.uid not in known:
            waited = [run.queued for run in _waiting(history, started, change.seen)]
            if freed:
                idle.append(max(0.0, change.seen - max(freed.pop(0), min(waited, default=change.seen))))
            alive.add(change.uid)
        elif not change.alive and change.uid in alive:
            free = history.limit - len(alive)
            if len(_waiting(history, started, change.seen)) > free:
                freed.append(change.seen)
            alive.discard(change.uid)
        known.add(change.uid)
        started.add(change.run_id)
    end = history.until if history.until is not None else max((change.seen for change in changes), default=0.0)
    waited = sorted(run.queued for run in _waiting(history, started, end))
    idle += [end - max(since, queued) for since, queued in zip(freed, waited, strict=False)]
    return idle
