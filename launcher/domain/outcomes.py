"""Decides the outcome of a run from how its process or pod terminated. Pure.

If Slipway stopped a run, that reason counts, not the exit code: a pipeline that exits with 0 on SIGTERM is still
cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.domain.reasons import Reason, sentence
from launcher.domain.runs import Outcome, RunStatus

DEADLINE_BEFORE_START = "The pod's deadline passed before its container started."
_SIGNAL_EXIT_CODES = range(129, 160)
"""Exit codes with which a container reports a signal: 128 + its number. A child process reports the signal itself."""


@dataclass(frozen=True, kw_only=True)
class PodTermination:
    """What Kubernetes reports about a pod that has terminated or was deleted."""

    succeeded: bool
    """The pod succeeded, and was not being deleted."""
    by_deadline: bool
    """The pod exceeded its deadline."""
    interrupted: bool
    """The pod exceeded its deadline or was deleted: it did not terminate by itself."""
    exit_code: int | None
    """The container's exit code; None if it never started."""
    out_of_memory: bool = False
    cannot_start: bool = False
    """The container could not be started, although it has an exit code."""
    external_cause: Reason | None = None
    """Why something other than Slipway terminated the pod."""
    detail: str = ""
    """Kubernetes' own message."""
    memory_limit: str = ""
    """The container's memory limit, as a Kubernetes quantity such as `1Gi`."""


def completed() -> Outcome:
    """Return the outcome of a run that finished successfully."""
    return Outcome(status=RunStatus.COMPLETED, reason=Reason.COMPLETED, message=sentence(Reason.COMPLETED), exit_code=0)


def cancelled_before_start() -> Outcome:
    """Return the outcome of a run that was cancelled in the queue. Without a process, it has no exit code."""
    return Outcome(
        status=RunStatus.CANCELLED, reason=Reason.CANCELLED, message="The run was cancelled before it started."
    )


def failure(
    reason: Reason,
    *,
    exit_code: int | None = None,
    limit: float | None = None,
    memory_limit: str = "",
    detail: str = "",
) -> Outcome:
    """Return the outcome of a run that failed for this reason. A signal becomes the exit code 128 + number."""
    return Outcome(
        status=RunStatus.FAILED,
        reason=reason,
        message=sentence(reason, exit_code=exit_code, limit=limit, memory_limit=memory_limit, detail=detail),
        exit_code=128 - exit_code if exit_code is not None and exit_code < 0 else exit_code,
    )


def stopped_by_slipway(reason: Reason, *, exit_code: int | None = None, timeout: float, detail: str = "") -> Outcome:
    """Return the outcome of a run that Slipway stopped for this reason."""
    limit = timeout if reason is Reason.TIMED_OUT else None
    outcome = failure(reason, exit_code=exit_code, limit=limit, detail=detail)
    if reason is not Reason.CANCELLED:
        return outcome
    return Outcome(status=RunStatus.CANCELLED, reason=reason, message=outcome.message, exit_code=outcome.exit_code)


def outcome_of_process(exit_code: int, *, stop_reason: Reason | None, timeout: float, detail: str = "") -> Outcome:
    """Decide the outcome of a child process.

    `exit_code` is negative for a signal, as in `subprocess`. `stop_reason` is why Slipway stopped the process; None if
    it exited by itself.
    """
    if stop_reason is not None:
        return stopped_by_slipway(stop_reason, exit_code=exit_code, timeout=timeout, detail=detail)
    return completed() if exit_code == 0 else _failed_by_itself(exit_code)


def outcome_of_pod(end: PodTermination, *, stop_reason: Reason | None, timeout: float, detail: str = "") -> Outcome:
    """Decide the outcome of a pod. `stop_reason` is why Slipway stopped it; None if it did not.

    A pod that succeeded is `completed`, whatever reason its container reports.
    """
    code = end.exit_code
    if end.succeeded:
        return completed()
    if stop_reason and end.interrupted:
        return stopped_by_slipway(stop_reason, exit_code=code, timeout=timeout, detail=detail)
    if end.by_deadline and code is None:
        return failure(Reason.CANNOT_START, detail=DEADLINE_BEFORE_START)
    if end.by_deadline:
        return failure(Reason.TIMED_OUT, exit_code=code, limit=timeout)
    if end.out_of_memory and code != 0:
        return failure(Reason.OUT_OF_MEMORY, exit_code=code, memory_limit=end.memory_limit)
    if end.external_cause:
        return failure(end.external_cause, exit_code=code, detail=end.detail)
    if code is None or end.cannot_start:
        return failure(Reason.CANNOT_START, exit_code=code, detail=end.detail)
    return _failed_by_itself(128 - code if code in _SIGNAL_EXIT_CODES else code)


def with_excess(outcome: Outcome, excess: str) -> Outcome:
    """Return the outcome, or a failure if the run completed with artifacts above the limit that `excess` describes."""
    if outcome.status is RunStatus.COMPLETED and excess:
        return failure(Reason.ARTIFACTS_TOO_LARGE, exit_code=0, detail=excess)
    return outcome


def _failed_by_itself(exit_code: int) -> Outcome:
    return failure(Reason.KILLED_BY_SIGNAL if exit_code < 0 else Reason.PIPELINE_ERROR, exit_code=exit_code)
