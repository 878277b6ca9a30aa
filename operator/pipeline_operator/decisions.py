"""What is to be done about a run: decided from its record and its observed, without input or output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from launcher.cluster import jobs, labels, pods
from launcher.cluster.port import Manifest
from launcher.domain.outcomes import cancelled_before_start, completed, failure, stopped_by_slipway
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus
from pipeline_operator.cluster_cache import ObservedRun

_SETTLING = timedelta(seconds=20)
"""So long after the API server is back, scheduler and controllers may still be electing their leaders (15 s)."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long each cause of waiting may last, in seconds.

    `start_seconds`: for making a container where nothing is known to be wrong, the image's pull included.
    """

    grace_seconds: Mapping[Reason, float]
    start_seconds: float


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing to do until there is news, or until so many seconds have passed; meanwhile it waits for this."""

    seconds: float | None = None
    waiting_for: str | None = None
    cause: str | None = None


@dataclass(frozen=True, kw_only=True)
class Terminate:
    """Terminate the run for this reason, then look again."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The run has ended: nothing of it runs any more."""

    outcome: Outcome


Step = Wait | Terminate | Finish


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the observed does not tell: the moment, and for what cause the run has waited since when.

    `away_at`: when Kubernetes last did not answer. `excess`: which limit its artifacts exceed, as a sentence.
    `ending_for` and `detail`: why the operator has begun to end the run, where it has.
    """

    now: datetime
    cause: str | None = None
    cause_since: datetime
    away_at: datetime | None = None
    excess: str = ""
    ending_for: Reason | None = None
    detail: str = ""


def next_step(run: Run, observed: ObservedRun, facts: Facts, limits: Limits) -> Step:
    """Decide what is to be done next about a run without an end."""
    job = observed.job
    if job is not None and not observed.job_deleted and jobs.phase_of(job) == labels.PHASE_QUEUED:
        return _queued(job, observed, facts)
    why = _why_ended(run, observed, facts)
    if observed.pod is not None and observed.pod_terminated:
        return Finish(outcome=_outcome(run, observed.pod, why, facts))
    if observed.pod is None:
        return _without_pod(run, observed, why, facts, limits)
    return _with_pod(run, observed, observed.pod, why, facts, limits)


def _why_ended(run: Run, observed: ObservedRun, facts: Facts) -> Reason | None:
    if observed.job is not None and (told := jobs.ended_for(observed.job)):
        return told
    if facts.ending_for:
        return facts.ending_for
    if run.cancel_requested:
        return Reason.CANCELLED
    if observed.job is None or (observed.job_deleted and not jobs.finished(observed.job)):
        return Reason.DELETED
    return None


def _queued(job: Manifest, observed: ObservedRun, facts: Facts) -> Step:
    told = facts.ending_for or jobs.ended_for(job)
    faults = jobs.form_faults(job)
    if faults or told is Reason.REJECTED:
        detail = facts.detail or jobs.end_detail(job) or "; ".join(faults) + "."
        may_run = not jobs.suspended(job) and not jobs.finished(job)
        if may_run or (observed.pod is not None and not observed.pod_terminated):
            return Terminate(reason=Reason.REJECTED, detail=detail)
        return Finish(outcome=failure(Reason.REJECTED, detail=detail))
    if jobs.cancelled(job) and (observed.pod is None or observed.pod_terminated):
        return Finish(outcome=cancelled_before_start())
    return Wait()


def _outcome(run: Run, pod: Manifest, why: Reason | None, facts: Facts) -> Outcome:
    outcome = pods.outcome_of(pod, ended_for=why, timeout=run.timeout_seconds, detail=facts.detail)
    if outcome.status is RunStatus.COMPLETED and facts.excess:
        return failure(Reason.ARTIFACTS_TOO_LARGE, exit_code=0, detail=facts.excess)
    return outcome


def _without_pod(run: Run, observed: ObservedRun, why: Reason | None, facts: Facts, limits: Limits) -> Step:
    job = observed.job
    ended = None if job is None else jobs.finished(job)
    if ended == "Complete":
        return Finish(outcome=completed())
    if observed.job_deleted or job is None or ended or (why and jobs.suspended(job)):
        if why is Reason.CANCELLED and run.started_at is None:
            return Finish(outcome=cancelled_before_start())
        outcome = stopped_by_slipway(why or Reason.DELETED, timeout=run.timeout_seconds, detail=facts.detail)
        return Finish(outcome=outcome)
    if why:
        return Terminate(reason=why, detail=facts.detail)
    if jobs.suspended(job):
        return Wait(waiting_for="Its Job was suspended by hand: set spec.suspend to false, or delete it.")
    grace = limits.grace_seconds.get(Reason.CANNOT_START, 0)
    waiting = pods.Waiting(reason=Reason.CANNOT_START, why="Waiting for Kubernetes to make the pod.")
    return _patiently(waiting, "no pod", grace, facts)


def _with_pod(run: Run, observed: ObservedRun, pod: Manifest, why: Reason | None, facts: Facts, limits: Limits) -> Step:
    if pods.deleting(pod):
        return Wait()
    if why:
        return Terminate(reason=why, detail=facts.detail)
    if waiting := pods.waiting_for(pod):
        grace = limits.start_seconds if waiting.slow else limits.grace_seconds.get(waiting.reason, 0)
        return _patiently(waiting, f"{waiting.reason} slow" if waiting.slow else waiting.reason, grace, facts)
    if facts.excess:
        return Terminate(reason=Reason.ARTIFACTS_TOO_LARGE, detail=facts.excess)
    if run.started_at is None:
        return Wait()
    left = (run.started_at + timedelta(seconds=run.timeout_seconds) - facts.now).total_seconds()
    return Wait(seconds=left) if left > 0 else Terminate(reason=Reason.TIMED_OUT)


def _patiently(waiting: pods.Waiting, cause: str, grace: float, facts: Facts) -> Step:
    """Wait for as long as the cause may last, then end the run for it. A cause that is new has just begun.

    Only time since the control plane's last outage counts: what is waited for is Kubernetes itself.
    """
    since = facts.cause_since if facts.cause == cause else facts.now
    if facts.away_at is not None:
        since = max(since, facts.away_at + _SETTLING)
    lasted = (facts.now - since).total_seconds()
    if lasted >= grace:
        return Terminate(reason=waiting.reason, detail=waiting.why)
    return Wait(seconds=grace - lasted, waiting_for=waiting.why, cause=cause)
