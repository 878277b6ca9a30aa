"""The queue: waiting runs in queue order. A change or a lookup costs a binary search, however long the queue is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

from launcher.domain.runs import Run


def queue_order(run: Run) -> tuple[int, float, str]:
    """Return a run's sort key in the queue: highest priority first, then oldest, then by run id."""
    return (-run.priority, run.created_at.timestamp(), run.run_id)


class RunQueue:
    """Waiting runs, each once. Positions count from 1."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs = {run.run_id: run for run in runs}
        self._order = sorted(map(queue_order, self._runs.values()))

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[Run]:
        """Yield the runs in queue order. If the queue changes meanwhile, continue behind the run yielded last."""
        index = 0
        while index < len(self._order):
            key = self._order[index]
            yield self._runs[key[-1]]
            unchanged = index < len(self._order) and self._order[index] is key
            index = index + 1 if unchanged else bisect_right(self._order, key)

    def get(self, run_id: str) -> Run | None:
        """Return a run; None if it is not in the queue."""
        return self._runs.get(run_id)

    def position(self, run_id: str) -> int | None:
        """Return a run's position; None if it is not in the queue."""
        run = self._runs.get(run_id)
        return None if run is None else 1 + bisect_left(self._order, queue_order(run))

    def add(self, run: Run) -> None:
        """Add a run. It replaces the one with its id."""
        self.discard(run.run_id)
        self._runs[run.run_id] = run
        insort(self._order, queue_order(run))

    def discard(self, run_id: str) -> Run | None:
        """Remove a run and return it; None if it is not in the queue."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            del self._order[bisect_left(self._order, queue_order(run))]
        return run
