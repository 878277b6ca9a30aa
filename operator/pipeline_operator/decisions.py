"""Decides the next step for a run, from its record and its objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from launcher.cluster import jobs, pods
from launcher.cluster.port import Manifest
from launcher.domain.outcomes import cancelled_before_start, completed, failure, stopped_by_slipway, with_excess
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run
from pipeline_operator.cluster_cache import ObservedRun

WAITING_FOR_POD = "Waiting for Kubernetes to create the pod."
SUSPENDED_BY_HAND = "Its Job was suspended by hand. Set spec.suspend to false, or delete the Job."
_LEADER_ELECTION = timedelta(seconds=20)
"""After an outage of the API server, the scheduler and the controllers take up to 15 seconds to elect leaders."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a run may wait to start, in seconds.

    `grace_seconds` has the limit for each reason why it cannot start. `start_seconds` applies while nothing is wrong,
    including while the image is pulled.
    """

    grace_seconds: Mapping[Reason, float]
    start_seconds: float


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Wait for a change, at most `seconds`. `cause` identifies the running grace period, if there is one."""

    seconds: float | None = None
    waiting_for: str | None = None
    cause: str | None = None


@dataclass(frozen=True, kw_only=True)
class RefreshPods:
    """List the run's pods, because it is about to finish and the cache has none."""


@dataclass(frozen=True, kw_only=True)
class Terminate:
    """Stop the run for this reason."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Record the outcome. Nothing of the run is running."""

    outcome: Outcome


Step = Wait | RefreshPods | Terminate | Finish


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the reconciler knows in addition to the run's objects."""

    now: datetime
    cause: str | None = None
    """The cause of the running grace period, which started at `cause_since`."""
    cause_since: datetime
    unavailable_at: datetime | None = None
    """When the API server last failed to answer."""
    excess: str = ""
    """The limit that the artifacts exceed, as a sentence."""
    termination_reason: Reason | None = None
    """Why the operator is terminating the run."""
    detail: str = ""
    """Details of the termination reason."""
    pods_listed: bool = False
    """Whether the run's pods have been listed, so that a pod missing from the cache does not exist."""


def next_step(run: Run, observed: ObservedRun, facts: Facts, limits: Limits) -> Step:
    """Decide the next step for a run that has not finished."""
    step = _next_step(run, observed, facts, limits)
    if isinstance(step, Finish) and observed.pod is None and not facts.pods_listed:
        return RefreshPods()
    return step


def _next_step(run: Run, observed: ObservedRun, facts: Facts, limits: Limits) -> Step:
    if observed.job is not None and observed.queued and not observed.job_deleted:
        return _step_if_queued(observed.job, observed, facts)
    reason = _termination_reason(run, observed, facts)
    if observed.pod is None:
        return _step_without_pod(run, observed, reason, facts, limits)
    if observed.pod_terminated:
        return Finish(outcome=_outcome(run, observed.pod, reason, facts))
    return _step_with_pod(run, observed.pod, reason, facts, limits)


def _termination_reason(run: Run, observed: ObservedRun, facts: Facts) -> Reason | None:
    if observed.job is not None and (stored := jobs.termination_reason(observed.job)):
        return stored
    if facts.termination_reason:
        return facts.termination_reason
    if run.cancel_requested:
        return Reason.CANCELLED
    if observed.job is None or (observed.job_deleted and not jobs.finished_condition(observed.job)):
        return Reason.DELETED
    return None


def _step_if_queued(job: Manifest, observed: ObservedRun, facts: Facts) -> Step:
    faults = jobs.requirement_faults(job)
    if faults or Reason.REJECTED in (facts.termination_reason, jobs.termination_reason(job)):
        detail = facts.detail or jobs.termination_detail(job) or "; ".join(faults) + "."
        can_run = not jobs.suspended(job) and not jobs.finished_condition(job)
        if can_run or (observed.pod is not None and not observed.pod_terminated):
            return Terminate(reason=Reason.REJECTED, detail=detail)
        return Finish(outcome=failure(Reason.REJECTED, detail=detail))
    if jobs.cancel_requested(job) and (observed.pod is None or observed.pod_terminated):
        return Finish(outcome=cancelled_before_start())
    return Wait()


def _outcome(run: Run, pod: Manifest, reason: Reason | None, facts: Facts) -> Outcome:
    outcome = pods.outcome_of(pod, stop_reason=reason, timeout=run.timeout_seconds, detail=facts.detail)
    return with_excess(outcome, facts.excess)


def _step_without_pod(run: Run, observed: ObservedRun, reason: Reason | None, facts: Facts, limits: Limits) -> Step:
    job = observed.job
    condition = None if job is None else jobs.finished_condition(job)
    if condition == "Complete":
        return Finish(outcome=completed())
    if job is None or observed.job_deleted or condition or (reason and jobs.suspended(job)):
        if reason is Reason.CANCELLED and run.started_at is None:
            return Finish(outcome=cancelled_before_start())
        outcome = stopped_by_slipway(reason or Reason.DELETED, timeout=run.timeout_seconds, detail=facts.detail)
        return Finish(outcome=outcome)
    if reason:
        return Terminate(reason=reason, detail=facts.detail)
    if jobs.suspended(job):
        return Wait(waiting_for=SUSPENDED_BY_HAND)
    waiting = pods.WaitingState(reason=Reason.CANNOT_START, message=WAITING_FOR_POD)
    return _wait_within_grace(waiting, "no pod", limits.grace_seconds.get(Reason.CANNOT_START, 0), facts)


def _step_with_pod(run: Run, pod: Manifest, reason: Reason | None, facts: Facts, limits: Limits) -> Step:
    if pods.deleting(pod):
        return Wait()
    if reason:
        return Terminate(reason=reason, detail=facts.detail)
    if waiting := pods.waiting_state(pod):
        grace = limits.start_seconds if waiting.slow else limits.grace_seconds.get(waiting.reason, 0)
        cause = f"{waiting.reason} slow" if waiting.slow else str(waiting.reason)
        return _wait_within_grace(waiting, cause, grace, facts)
    if facts.excess:
        return Terminate(reason=Reason.ARTIFACTS_TOO_LARGE, detail=facts.excess)
    if run.started_at is None:
        return Wait()
    left = (run.started_at + timedelta(seconds=run.timeout_seconds) - facts.now).total_seconds()
    return Wait(seconds=left) if left > 0 else Terminate(reason=Reason.TIMED_OUT)


def _wait_within_grace(waiting: pods.WaitingState, cause: str, grace: float, facts: Facts) -> Step:
    """Wait until the grace period of this cause has expired, then terminate the run.

    Only the time since the API server's last outage counts, because Kubernetes could not act during it.
    """
    since = facts.cause_since if facts.cause == cause else facts.now
    if facts.unavailable_at is not None:
        since = max(since, facts.unavailable_at + _LEADER_ELECTION)
    waited = (facts.now - since).total_seconds()
    if waited >= grace:
        return Terminate(reason=waiting.reason, detail=waiting.message)
    return Wait(seconds=grace - waited, waiting_for=waiting.message, cause=cause)
