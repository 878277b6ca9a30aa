"""The queue checker: is the limit kept, is the order kept, and how long does a slot stay free while somebody waits?

Which change came first is told by resource versions alone: the count of living pods and the order of releases need no
clock and no tolerance. Durations come from the collector's own clock, as Kubernetes' times have whole seconds.
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
    OUT_OF_ORDER = "released before one that was earlier in the queue"
    FAILED_CREATE = "Kubernetes refused a pod"
    HOLE = "the watch was interrupted: what happened meanwhile is not known"


@dataclass(frozen=True, kw_only=True)
class QueuedRun:
    """A run and its place in the order of the queue.

    `queued_at` is in microseconds, as its annotation says; `queued` in seconds, when it was in the queue for sure,
    which is later. `left` is when it left the queue without a release (cancelled).
    """

    run_id: str
    priority: int = 0
    queued_at: int
    queued: float
    left: float = math.inf

    @property
    def key(self) -> tuple[int, int, str]:
        """Higher priority first, then who came first, then the run id."""
        return -self.priority, self.queued_at, self.run_id


@dataclass(frozen=True, kw_only=True)
class QueueHistory:
    """What the collector saw, and what was asked for. `until` is when it stopped looking."""

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
    """Seconds, by nearest rank; zeros where there were none."""

    count: int
    p50: float
    p95: float
    maximum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Count them."""
        ranked = sorted(seconds) or [0.0]
        p50, p95 = (ranked[max(0, math.ceil(share * len(ranked)) - 1)] for share in (0.5, 0.95))
        return cls(len(seconds), p50, p95, ranked[-1])


def check(history: QueueHistory) -> list[Finding]:
    """Return all that is wrong with a queue; free slots are not in it, see `idle_seconds`."""
    found = [*_limit_faults(history)]
    found += _release_faults(history) if history.jobs else _creation_faults(history)
    mine = {run.run_id for run in history.runs}
    refused = {event.uid: event for event in history.events if event.reason == "FailedCreate"}
    for event in refused.values():
        if event.about_kind == "Job" and event.about_name in mine:
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
    """Judge each release: who waited at that moment, by resource versions, and was earlier in the order?"""
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
    """Judge each pod's creation instead, where no Jobs were watched.

    The Job controller may create the pods of two Jobs that were released together in either order: watch Jobs where
    more than one slot can be free at once.
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
        detail = f"at {moment}, key {run.key}; {len(ahead)} waited before it, first {first.key}"
        yield Finding(QueueFault.OUT_OF_ORDER, run.run_id, detail)


def _waiting(history: QueueHistory, started: set[str], moment: float) -> list[QueuedRun]:
    return [run for run in history.runs if run.run_id not in started and run.queued < moment < run.left]


def idle_seconds(history: QueueHistory) -> list[float]:
    """Return, for each slot that got free while somebody waited for it, how long it stayed free.

    From the moment the pod's end was seen until the next pod was seen. A slot that was not taken at all counts until
    the history's end, as long as somebody waits.
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
