"""The interfaces of the stores. Each has a real and an in-memory implementation; one contract test covers both."""

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
    """Selects a page of runs, newest first. None matches any value. `page` counts from 1."""

    job_id: str | None = None
    status: RunStatus | None = None
    pipeline: str | None = None
    page: int = 1
    per_page: int = 50

    def matches(self, run: Run) -> bool:
        """Return whether the query selects a run."""
        return (
            self.job_id in (None, run.job_id)
            and self.status in (None, run.status)
            and self.pipeline in (None, run.pipeline)
        )

    def page_of(self, runs: Iterable[Run]) -> tuple[list[Run], int]:
        """Return the query's page of these runs, and how many it selects in total."""
        found = sorted(filter(self.matches, runs), key=lambda run: (run.created_at, run.run_id), reverse=True)
        start = (self.page - 1) * self.per_page
        return found[start : start + self.per_page], len(found)


class RunStore(Protocol):
    """Stores the latest state of each run. Every method can raise `StoreUnavailable`."""

    async def put(self, run: Run) -> bool:
        """Store the run if it supersedes the stored one (see `runs.supersedes`); return whether it was stored."""
        ...

    async def get(self, run_id: str) -> Run | None:
        """Return the stored run; None if it does not exist."""
        ...

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """Return the query's page of runs, and how many it selects in total."""
        ...

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """Count the runs requested between each two successive edges, by status. Edges are whole seconds."""
        ...

    async def revisions(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the stored revision of each of these runs, without those that are not stored."""
        ...

    async def delete_finished_before(self, moment: datetime) -> int:
        """Delete the runs that finished before this time; return how many."""
        ...

    async def ping(self) -> None:
        """Raise `StoreUnavailable` if the store does not answer."""
        ...


class LogTail(Protocol):
    """The newest lines of each log, for viewers. Every method can raise `StoreUnavailable`."""

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """Add lines, except those whose numbers are stored already. With `replace`, they replace all stored lines."""
        ...

    async def last_number(self, run_id: str) -> int:
        """Return the highest stored line number; 0 if there is none."""
        ...

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """Return the lines after number `after`, waiting up to `wait_seconds` for the first.

        If the first one is not the next line, the lines between are only in the archive.
        """
        ...

    async def finish(self, run_id: str) -> None:
        """Mark the log as finished. The tail is deleted immediately, or when its TTL expires."""
        ...


class WorkItems(Protocol):
    """The work items (MongoDB `jobs.level-2`) that runs are launched for."""

    async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
        """Write the run's state to its work item, unless a newer run has; return whether it was written."""
        ...


def work_item_fields(run: Run, artifact_urls: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a work item. `pipeline_run_at` is when the run was requested, which orders its runs."""
    return {
        "pipeline_run_id": run.run_id,
        "pipeline_status": str(run.status),
        "pipeline_run_at": run.created_at,
        "pipeline_completed_at": run.completed_at,
        "artifact_urls": dict(artifact_urls),
    }
