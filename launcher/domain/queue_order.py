"""The order of the queue, and which waiting runs may start now. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.domain.runs import Run


def queue_order(run: Run) -> tuple[int, float, str]:
    """Return a run's sort key in the queue: highest priority first, then oldest, then by run id."""
    return (-run.priority, run.created_at.timestamp(), run.run_id)


def to_release(waiting: Iterable[Run], *, free_slots: int, paused: bool) -> list[Run]:
    """Return the runs that may start now, in queue order: one for each free slot.

    The caller counts the slots in use from what is running, because a stored counter could be wrong after a crash.
    """
    return [] if paused else sorted(waiting, key=queue_order)[: max(0, free_slots)]
