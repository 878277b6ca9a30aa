"""The local engine's runs: in memory, with each change recorded in the archive and the stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from launcher.artifacts import ArtifactFolder
from launcher.background import suppress_and_report
from launcher.domain.days import StatusCounts, count_between
from launcher.domain.log_lines import Receipt
from launcher.domain.pipelines import Pipeline
from launcher.domain.queue_places import Durations
from launcher.domain.runs import Outcome, Run, now, require_same_request, supersedes
from launcher.metrics import RUNS
from launcher.recorder import Recorder
from launcher.stores.ports import RunQuery


class RunRegistry:
    """The latest state of each run, by run id and by Idempotency-Key."""

    def __init__(self, recorder: Recorder, artifacts: ArtifactFolder, pipelines: Mapping[str, Pipeline]) -> None:
        self._recorder, self._artifacts, self._pipelines = recorder, artifacts, pipelines
        self._runs: dict[str, Run] = {}
        self._by_idempotency: dict[str, str] = {}
        self.durations = Durations()

    def get(self, run_id: str) -> Run | None:
        """Return a run; None if it does not exist."""
        return self._runs.get(run_id)

    def existing(self, requested: Run) -> Run | None:
        """Return the run that the same request has already launched. Raises `IdempotencyConflict`."""
        run_id = self._by_idempotency.get(requested.idempotency_hash or "", requested.run_id)
        found = self._runs.get(run_id)
        return require_same_request(requested, found) if found else None

    def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """Return a page of runs, newest first, and how many the query selects in total."""
        return query.page_of(self._runs.values())

    def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """Count the runs requested between each two successive edges, by status."""
        return count_between(edges, self._runs.values())

    def finished_before(self, moment: datetime) -> list[Run]:
        """Return the runs that finished before the moment."""
        return [run for run in self._runs.values() if run.completed_at and run.completed_at < moment]

    def add(self, run: Run) -> None:
        """Add a run, or a later state of one, that is already recorded."""
        if supersedes(run, self._runs.get(run.run_id)):
            self._runs[run.run_id] = run
            self.durations.add(run)
            if run.idempotency_hash:
                self._by_idempotency[run.idempotency_hash] = run.run_id

    def remove(self, runs: Iterable[Run]) -> None:
        """Remove runs. Their Idempotency-Keys can be used again."""
        for run in runs:
            self._runs.pop(run.run_id, None)
            self._by_idempotency.pop(run.idempotency_hash or "", None)

    def record(self, run: Run) -> Run:
        """Record a run, or a later state of one. Raises `OSError` if the archive cannot be written."""
        self._recorder.record(run)
        self.add(run)
        return run

    async def record_outcome(self, run_id: str, outcome: Outcome, log: Receipt) -> None:
        """Record a run's outcome, with its artifacts."""
        run = self._runs[run_id]
        pipeline, artifacts = self._pipelines.get(run.pipeline), {}
        if pipeline:
            outcome = pipeline.explained(outcome)
            with suppress_and_report("artifacts", f"run {run_id}: cannot list its artifacts"):
                artifacts = await self._artifacts.discover(run_id, pipeline.artifacts)
        self.add(await self._recorder.record_outcome(run.finished(outcome, now(), log, artifacts)))
        RUNS.labels(run.pipeline, outcome.status, outcome.reason).inc()
