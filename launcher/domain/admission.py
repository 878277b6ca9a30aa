"""Admission: which waiting runs may start now. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.domain.runs import Run


def queue_order(run: Run) -> tuple[int, float, str]:
    """Return a run's sort key in the queue: higher priority first, then the oldest, then by run id."""
    return (-run.priority, run.created_at.timestamp(), run.run_id)


def to_release(waiting: Iterable[Run], *, busy: int, limit: int, paused: bool) -> list[Run]:
    """Return the runs that may start now, in order: as many as there are free slots.

    `busy` is counted from what is running at this moment, never kept in a counter.
    """
    if paused:
        return []
    return sorted(waiting, key=queue_order)[: max(0, limit - busy)]
