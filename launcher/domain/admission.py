"""Admission: who may start now, who waits where, and for about how long. Decided from a picture of the moment."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from launcher.domain.runs import Run


@dataclass(frozen=True, kw_only=True)
class QueuePlace:
    """A waiting run's place: `position` from 1; `eta_seconds` until it starts, None where nothing is known yet."""

    position: int
    eta_seconds: float | None
    why: str


def queue_order(run: Run) -> tuple[int, float, str]:
    """Order of the queue: higher priority first, then who came first, then the run id."""
    return (-run.priority, run.created_at.timestamp(), run.run_id)


def to_release(waiting: Iterable[Run], *, busy: int, limit: int, paused: bool) -> list[Run]:
    """Return the runs that may start now, in order: as many as there are free slots.

    `busy` is counted from what is really running at this moment, never kept in a counter.
    """
    if paused:
        return []
    return sorted(waiting, key=queue_order)[: max(0, limit - busy)]


def typical_seconds(durations: Sequence[float], default: float | None = None) -> float | None:
    """Return what a run lasts, from past ones: the median, as one hanging run must not move it."""
    return median(durations) if durations else default


def place_of(
    run_id: str,
    waiting: Iterable[Run],
    *,
    remaining: Sequence[float],
    typical: float | None,
    limit: int,
    paused: bool,
    operator_away: bool = False,
) -> QueuePlace | None:
    """Return a waiting run's place; None where it does not wait.

    `remaining` holds the seconds that each running run will about still need. The ETA plays the queue forward:
    each slot that gets free takes the next run for `typical` seconds. Nothing is foretold while nothing can start.
    """
    ordered = sorted(waiting, key=queue_order)
    position = next((place for place, run in enumerate(ordered, 1) if run.run_id == run_id), None)
    if position is None:
        return None
    if operator_away:
        why = "The operator is away: nothing starts until it is back."
        return QueuePlace(position=position, eta_seconds=None, why=why)
    if paused:
        return QueuePlace(position=position, eta_seconds=None, why="The queue is paused.")
    ahead = position - 1
    why = "Waiting for a free slot" + (f", {ahead} ahead." if ahead else ", next in line.")
    if typical is None:
        return QueuePlace(position=position, eta_seconds=None, why=why)
    slots = [*sorted(remaining)[:limit], *([0.0] * max(0, limit - len(remaining)))]
    heapq.heapify(slots)
    free_at = 0.0
    for _ in range(position):
        free_at = heapq.heappop(slots)
        heapq.heappush(slots, free_at + typical)
    return QueuePlace(position=position, eta_seconds=round(free_at, 1), why=why)
