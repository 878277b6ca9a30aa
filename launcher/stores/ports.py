"""What a store must do. Each port has a real adapter and an in-memory twin, held to one contract suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from launcher.domain.days import StatusCounts
from launcher.domain.log_lines import LogLine
from launcher.domain.runs import Run, RunStatus


@dataclass(frozen=True, kw_only=True)
class RunQuery:
    """Which runs are meant; None means any. `page` counts from 1; the newest come first."""

    job_id: str | None = None
    status: RunStatus | None = None
    pipeline: str | None = None
    page: int = 1
    per_page: int = 50

    def matches(self, run: Run) -> bool:
        """Say whether a run is meant."""
        return (
            self.job_id in (None, run.job_id)
            and self.status in (None, run.status)
            and self.pipeline in (None, run.pipeline)
        )


class RunStore(Protocol):
    """Keeps the latest state of each run. Every method may raise `StoreUnavailable`."""

    async def put(self, run: Run) -> bool:
        """Keep the run if it supersedes what is kept (see `runs.supersedes`); say whether it was kept."""
        ...

    async def get(self, run_id: str) -> Run | None:
        """Return the run as it was last kept."""
        ...

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """Return a page of the runs that are meant, newest first, and how many there are in all."""
        ...

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """Count the runs that were requested between each two successive edges, by status; edges are whole seconds."""
        ...

    async def revisions(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the revision kept of each of these runs; those that are not kept are left out."""
        ...

    async def delete_ended_before(self, moment: datetime) -> int:
        """Delete runs that ended before the moment; return how many."""
        ...

    async def ping(self) -> None:
        """Raise `StoreUnavailable` where the store does not answer."""
        ...


class LogTail(Protocol):
    """The newest lines of each log, for those who follow it. Every method may raise `StoreUnavailable`."""

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """Add lines, skipping numbers that it has already. With `replace`, they replace all lines that it has."""
        ...

    async def last_number(self, run_id: str) -> int:
        """Return the highest number kept, 0 where there is none."""
        ...

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """Return lines with higher numbers, waiting for them up to `wait_seconds`.

        The first may be more than one higher: then those between are in the archive only.
        """
        ...

    async def finish(self, run_id: str) -> None:
        """Say that no line will come any more: the tail is kept for its time to live, then forgotten."""
        ...


class WorkItems(Protocol):
    """The work items (MongoDB `jobs.level-2`) that runs are launched for."""

    async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
        """Write the run's state on its work item, unless a newer run has written there; say whether it was written."""
        ...


def work_item_fields(run: Run, artifact_urls: Mapping[str, str]) -> dict[str, Any]:
    """Return the seed's five fields. `pipeline_run_at` is when the run was asked for: that is what orders runs."""
    return {
        "pipeline_run_id": run.run_id,
        "pipeline_status": str(run.status),
        "pipeline_run_at": run.created_at,
        "pipeline_completed_at": run.completed_at,
        "artifact_urls": dict(artifact_urls),
    }
