"""What an engine must do for the API."""

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
    """The queue at this moment."""

    active: int
    limit: int
    queued: int
    paused: bool
    cluster: str = "off"
    """Whether Kubernetes answers: `ok` or `away`; `off` where there is none."""
    operator: str = "off"
    """Whether the operator lives: `up` or `away`, `unknown` while nobody can tell; `off` where there is none."""


class Engine(Protocol):
    """Queues runs, executes them, tells of them."""

    async def start(self) -> None:
        """Take up what is there."""
        ...

    async def stop(self) -> None:
        """Let go."""
        ...

    async def submit(self, run: Run) -> Run:
        """Queue a run; where one of its name or Idempotency-Key is there, return that.

        Raises `QueueFull`, and `IdempotencyConflict` where the key came with another request.
        """
        ...

    async def get(self, run_id: str) -> Run:
        """Return a run. Raises `RunNotFound`."""
        ...

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """Return a page of runs, newest first, and how many there are in all."""
        ...

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """Count all runs that were requested between each two successive edges, by status."""
        ...

    async def cancel(self, run_id: str) -> Run:
        """Ask that a run ends; no change where it has. It is `cancelled` once nothing of it is running any more."""
        ...

    async def place(self, run_id: str) -> QueuePlace | None:
        """Return a waiting run's place in the queue."""
        ...

    def unfinished(self, run_id: str) -> str | None:
        """Return what a run's last line shows that redraws itself and is not finished; None where nobody knows."""
        ...

    async def pause(self, paused: bool) -> None:
        """Hold the queue, or let it go on. Survives restarts."""
        ...

    async def queue(self) -> QueueState:
        """Return the queue's state."""
        ...

    def known(self) -> QueueState:
        """Return the queue's state as it was last known, at once."""
        ...
