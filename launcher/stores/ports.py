"""What a store must do. Each port has a real adapter and an in-memory one; one contract suite tests both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from launcher.domain.days import StatusCounts
from launcher.domain.log_lines import LogLine
from launcher.domain.runs import Run, RunStatus


@dataclass(frozen=True, kw_only=True)
class RunQuery:
    """Selects runs; None matches any. `page` counts from 1; the newest come first."""

    job_id: str | None = None
    status: RunStatus | None = None
    pipeline: str | None = None
    page: int = 1
    per_page: int = 50

    def matches(self, run: Run) -> bool:
        """Say whether the query selects a run."""
        return (
            self.job_id in (None, run.job_id)
            and self.status in (None, run.status)
            and self.pipeline in (None, run.pipeline)
        )

    def page_of(self, runs: Iterable[Run]) -> tuple[list[Run], int]:
        """Return the page of these runs that the query selects, and how many it selects in all."""
        found = sorted(filter(self.matches, runs), key=lambda run: (run.created_at, run.run_id), reverse=True)
        start = (self.page - 1) * self.per_page
        return found[start : start + self.per_page], len(found)


class RunStore(Protocol):
    """Keeps the latest state of each run. Every method may raise `StoreUnavailable`."""

    async def put(self, run: Run) -> bool:
        """Store the run if it supersedes what is stored (see `runs.supersedes`); say whether it was stored."""
        ...

    async def get(self, run_id: str) -> Run | None:
        """Return the run as it was last stored."""
        ...

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """Return a page of the runs that the query selects, newest first, and how many it selects in all."""
        ...

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """Count the runs that were requested between each two successive edges, by status; edges are whole seconds."""
        ...

    async def revisions(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the stored revision of each of these runs; those that are not stored are left out."""
        ...

    async def delete_ended_before(self, moment: datetime) -> int:
        """Delete runs that ended before the moment; return how many."""
        ...

    async def ping(self) -> None:
        """Raise `StoreUnavailable` if the store does not answer."""
        ...


class LogTail(Protocol):
    """The newest lines of each log, for its viewers. Every method may raise `StoreUnavailable`."""

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """Add lines; numbers that are there already are passed over. With `replace`, they replace those it has."""
        ...

    async def last_number(self, run_id: str) -> int:
        """Return the highest line number stored, 0 if there is none."""
        ...

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """Return lines with higher numbers, waiting for them up to `wait_seconds`.

        The first may be more than one higher: then the lines between are only in the archive.
        """
        ...

    async def finish(self, run_id: str) -> None:
        """Mark the log as finished: the tail is kept for its time to live, then deleted."""
        ...


class WorkItems(Protocol):
    """The work items (MongoDB `jobs.level-2`) that runs are launched for."""

    async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
        """Write the run's state to its work item, unless a newer run has done so; say whether it was written."""
        ...


def work_item_fields(run: Run, artifact_urls: Mapping[str, str]) -> dict[str, Any]:
    """Return the five fields of a work item. `pipeline_run_at` is when the run was requested, which orders runs."""
    return {
        "pipeline_run_id": run.run_id,
        "pipeline_status": str(run.status),
        "pipeline_run_at": run.created_at,
        "pipeline_completed_at": run.completed_at,
        "artifact_urls": dict(artifact_urls),
    }
