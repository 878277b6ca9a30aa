"""The interface of an engine, as the API uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from launcher.domain.days import StatusCounts
from launcher.domain.queue_places import QueuePlace
from launcher.domain.runs import Run
from launcher.stores.ports import RunQuery


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """The state of the queue."""

    active: int
    limit: int
    queued: int
    paused: bool
    cluster: str = "off"
    """Whether Kubernetes answers: `ok` or `away`; `off` on the local engine."""
    operator: str = "off"
    """Whether the operator is alive: `up`, `away` or `unknown`; `off` on the local engine."""


class Engine(Protocol):
    """Queues runs, executes them and returns their state."""

    async def start(self) -> None:
        """Start, and continue the existing runs."""
        ...

    async def stop(self) -> None:
        """Stop. Queued runs stay queued."""
        ...

    async def submit(self, run: Run) -> Run:
        """Queue a run. If the same request has already launched a run, return that one.

        Raises `QueueFull`, or `IdempotencyConflict` if the key was used with a different request.
        """
        ...

    async def get(self, run_id: str) -> Run:
        """Return a run. Raises `RunNotFound`."""
        ...

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """Return a page of runs, newest first, and how many the query selects in total."""
        ...

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """Count the runs requested between each two successive edges, by status."""
        ...

    async def cancel(self, run_id: str) -> Run:
        """Cancel a run, unless it has finished. It becomes `cancelled` when none of its processes is running."""
        ...

    async def place(self, run_id: str) -> QueuePlace | None:
        """Return a run's place in the queue; None if it is not waiting."""
        ...

    def partial_line(self, run_id: str) -> str | None:
        """Return the current text of an incomplete last line that redraws itself; None if there is none."""
        ...

    async def pause(self, paused: bool) -> None:
        """Pause or resume the queue, also across restarts."""
        ...

    async def queue(self) -> QueueState:
        """Return the queue's state."""
        ...

    def cached_queue(self) -> QueueState:
        """Return the queue's state as last read, without input or output."""
        ...
