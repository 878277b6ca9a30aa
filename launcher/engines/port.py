"""What the API needs from an engine."""

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
    """The queue's current state."""

    active: int
    limit: int
    queued: int
    paused: bool
    cluster: str = "off"
    """Whether Kubernetes answers: `ok` or `away`; `off` if it is not used."""
    operator: str = "off"
    """Whether the operator is alive: `up`, `away` or `unknown`; `off` if there is none."""


class Engine(Protocol):
    """Queues runs, executes them and reports on them."""

    async def start(self) -> None:
        """Start, and continue with the runs that exist."""
        ...

    async def stop(self) -> None:
        """Stop."""
        ...

    async def submit(self, run: Run) -> Run:
        """Queue a run. If the same request has launched one already, return that one.

        Raises `QueueFull`, or `IdempotencyConflict` if the key was used with a different request.
        """
        ...

    async def get(self, run_id: str) -> Run:
        """Return a run. Raises `RunNotFound`."""
        ...

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """Return a page of runs, newest first, and how many the query selects in all."""
        ...

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """Count all runs that were requested between each two successive edges, by status."""
        ...

    async def cancel(self, run_id: str) -> Run:
        """Cancel a run; one that has ended stays as it is. It is `cancelled` once none of its processes is running."""
        ...

    async def place(self, run_id: str) -> QueuePlace | None:
        """Return a waiting run's place in the queue."""
        ...

    def unfinished(self, run_id: str) -> str | None:
        """Return the current text of a last line that redraws itself and is not finished; None if unknown."""
        ...

    async def pause(self, paused: bool) -> None:
        """Pause or resume the queue. Survives restarts."""
        ...

    async def queue(self) -> QueueState:
        """Return the queue's state."""
        ...

    def known(self) -> QueueState:
        """Return the queue's last known state, without waiting."""
        ...
