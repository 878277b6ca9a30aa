"""Makes a run's final record: its outcome, times, receipt and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from launcher.background import suppress_and_report
from launcher.cluster import jobs, pods
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.wiring import Storage
from pipeline_operator.cluster_cache import ObservedRun
from pipeline_operator.run_log import RunLog

_UNOBSERVED = timedelta(seconds=10)  # an older event happened while no operator was running


async def make_final_record(
    run: Run, outcome: Outcome, observed: ObservedRun, log: RunLog, storage: Storage, pipelines: Mapping[str, Pipeline]
) -> Run:
    """Close the run's log, list its artifacts, and return the finished run."""
    receipt = await log.close(run, outcome)
    if outcome.status is RunStatus.COMPLETED and run.status is RunStatus.QUEUED:
        run = run.started(time_of(run, None))
    pipeline = pipelines.get(run.pipeline)
    if pipeline is None:
        return run.finished(outcome, time_of(run, _finished_at(run, observed)), receipt, {})
    if observed.job is not None and jobs.names_pipeline(observed.job):
        outcome = pipeline.explained(outcome)
    artifacts: Mapping[str, str] = {}
    with suppress_and_report("artifacts", f"run {run.run_id}: cannot list its artifacts"):
        artifacts = await storage.artifacts.discover(run.run_id, pipeline.artifacts)
    return run.finished(outcome, time_of(run, _finished_at(run, observed)), receipt, artifacts)


def time_of(run: Run, reported: datetime | None) -> datetime:
    """Return when an event happened: now or, if no operator was running at the time, as the pod reports it."""
    at = now()
    if reported is None or at - reported < _UNOBSERVED:
        return at
    return max(reported, run.started_at or run.created_at)


def _finished_at(run: Run, observed: ObservedRun) -> datetime | None:
    with suppress_and_report("run reconciler", f"run {run.run_id}: cannot read when it finished"):
        state = pods.terminated_state(observed.pod) if observed.pod is not None else None
        return state.finished_at if state else None
    return None
