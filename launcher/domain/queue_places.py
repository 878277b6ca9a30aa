"""Places in the queue: where a run waits, why, and for about how long. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from launcher.domain.admission import queue_order
from launcher.domain.runs import Run, RunStatus

_REMEMBERED = 20
"""How many durations of each pipeline count."""


@dataclass(frozen=True, kw_only=True)
class QueuePlace:
    """A waiting run's place: `position` from 1, or 0 once it has a slot; `eta_seconds` until it starts, where known."""

    position: int
    eta_seconds: float | None
    why: str


class Durations:
    """How long the latest successful runs of each pipeline took."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        for run in sorted(filter(_counts, runs), key=lambda run: run.created_at):
            self.add(run)

    def add(self, run: Run) -> None:
        """Take a run into account; one that did not complete has no effect."""
        if _counts(run) and run.started_at and run.completed_at:
            self._seconds[run.pipeline].append((run.completed_at - run.started_at).total_seconds())

    def typical(self, pipeline: str) -> float | None:
        """Return how long a run of the pipeline usually takes: the median, which one hanging run does not move."""
        known = self._seconds.get(pipeline)
        return median(known) if known else None

    def remaining(self, run: Run, at: datetime) -> float:
        """Return how long a run that has its slot will about still take; 0 where nothing is known."""
        elapsed = (at - (run.started_at or at)).total_seconds()
        return max(0.0, (self.typical(run.pipeline) or 0.0) - elapsed)


def place_of(
    run_id: str,
    waiting: Iterable[Run],
    *,
    active: Collection[Run],
    durations: Durations,
    at: datetime,
    limit: int,
    paused: bool,
    operator_away: bool = False,
) -> QueuePlace | None:
    """Return a waiting run's place; None where it does not wait. There is no ETA while nothing can start."""
    ordered = sorted(waiting, key=queue_order)
    position = next((place for place, run in enumerate(ordered, 1) if run.run_id == run_id), None)
    if position is None:
        return None
    if operator_away:
        why = "The operator is away. Nothing starts until it is back."
        return QueuePlace(position=position, eta_seconds=None, why=why)
    if paused:
        return QueuePlace(position=position, eta_seconds=None, why="The queue is paused.")
    ahead = position - 1
    why = "Waiting for a free slot" + (f", {ahead} ahead." if ahead else ", next in line.")
    typical = durations.typical(ordered[ahead].pipeline)
    eta = None
    if typical is not None:
        eta = _starts_in(position, [durations.remaining(run, at) for run in active], typical, limit)
    return QueuePlace(position=position, eta_seconds=eta, why=why)


def _starts_in(position: int, remaining: list[float], typical: float, limit: int) -> float:
    """Simulate the queue: each slot that becomes free takes the next run for `typical` seconds."""
    slots = [*sorted(remaining)[:limit], *([0.0] * max(0, limit - len(remaining)))]
    heapq.heapify(slots)
    free_at = 0.0
    for _ in range(position):
        free_at = heapq.heappop(slots)
        heapq.heappush(slots, free_at + typical)
    return round(free_at, 1)


def _counts(run: Run) -> bool:
    return run.status is RunStatus.COMPLETED and run.started_at is not None and run.completed_at is not None
