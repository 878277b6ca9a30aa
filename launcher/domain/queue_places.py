"""Places in the queue: a waiting run's position, why it waits, and its ETA. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from launcher.domain.run_queue import RunQueue
from launcher.domain.runs import Run, RunStatus

PAUSED = "The queue is paused."
OPERATOR_DOWN = "The operator is down. Queued runs start when it returns."
OPERATOR_DOWN_WITH_SLOT = "It has a slot. The operator is down. The run's progress is shown when it returns."
_SAMPLES = 20
"""How many recent durations of each pipeline count."""


@dataclass(frozen=True, kw_only=True)
class QueuePlace:
    """A waiting run's place. `position` counts from 1; 0 means that it has a slot. `eta_seconds` can be unknown."""

    position: int
    eta_seconds: float | None
    why: str


class Durations:
    """The durations of each pipeline's most recent completed runs."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_SAMPLES))
        for run in sorted(filter(_is_sample, runs), key=lambda run: run.created_at):
            self.add(run)

    def add(self, run: Run) -> None:
        """Add a run. Only completed runs count."""
        if _is_sample(run) and run.started_at and run.completed_at:
            self._seconds[run.pipeline].append((run.completed_at - run.started_at).total_seconds())

    def typical(self, pipeline: str) -> float | None:
        """Return how long a run of the pipeline usually takes: the median, which a single stuck run does not affect."""
        seconds = self._seconds.get(pipeline)
        return median(seconds) if seconds else None

    def remaining(self, run: Run, at: datetime) -> float:
        """Estimate how much longer a run with a slot will take; 0 if the pipeline has no durations."""
        elapsed = (at - (run.started_at or at)).total_seconds()
        return max(0.0, (self.typical(run.pipeline) or 0.0) - elapsed)


def waiting_for_slot(ahead: int) -> str:
    """Return why a run waits with this many runs ahead of it."""
    return "Waiting for a free slot" + (f", {ahead} ahead." if ahead else ", next in line.")


def place_of(
    run_id: str,
    queue: RunQueue,
    *,
    active: Collection[Run],
    durations: Durations,
    at: datetime,
    limit: int,
    paused: bool,
    operator_down: bool = False,
) -> QueuePlace | None:
    """Return a waiting run's place; None if the run is not waiting. There is no ETA while nothing can start."""
    run, position = queue.get(run_id), queue.position(run_id)
    if run is None or position is None:
        return None
    if operator_down:
        return QueuePlace(position=position, eta_seconds=None, why=OPERATOR_DOWN)
    if paused:
        return QueuePlace(position=position, eta_seconds=None, why=PAUSED)
    ahead = position - 1
    typical = durations.typical(run.pipeline)
    eta = None
    if typical is not None:
        eta = _estimated_start(position, [durations.remaining(run, at) for run in active], typical, limit)
    return QueuePlace(position=position, eta_seconds=eta, why=waiting_for_slot(ahead))


def _estimated_start(position: int, remaining: list[float], typical: float, limit: int) -> float:
    """Return when this position starts, if each run takes `typical` seconds. The cost does not depend on the position.

    A slot that becomes free after r seconds starts runs at r, r + typical, r + 2 typical, and so on. The position is
    found by counting how many of these starts are before the n-th round, which begins after n times `typical`.
    """
    slots = [*sorted(remaining)[:limit], *([0.0] * max(0, limit - len(remaining)))]
    if typical <= 0:
        return round(min(slots), 1)
    joins = [divmod(free_at, typical) for free_at in slots]  # the slot's first round, and its offset in each round

    def starts_before(number: int) -> int:
        return sum(max(0, number - int(first)) for first, _ in joins)

    rounds = range(1, int(min(first for first, _ in joins)) + position + 1)
    number = rounds[bisect_left(rounds, position, key=starts_before)] - 1
    offsets = sorted(offset for first, offset in joins if first <= number)
    return round(number * typical + offsets[position - starts_before(number) - 1], 1)


def _is_sample(run: Run) -> bool:
    return run.status is RunStatus.COMPLETED and run.started_at is not None and run.completed_at is not None
