"""Outcomes: what the exit of a process, or the end of a pod, means for its run. Pure.

Why Slipway stopped a run comes before what the process then said: a pipeline that answers SIGTERM with exit code 0 was
cancelled all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.domain.reasons import Reason, sentence
from launcher.domain.runs import Outcome, RunStatus

_SHELL_SIGNALS = range(129, 160)
"""Exit codes by which containers and shells report a signal: 128 + its number."""


@dataclass(frozen=True, kw_only=True)
class PodEnd:
    """What Kubernetes reports of a pod that has ended, or is gone."""

    succeeded: bool
    """The pod succeeded, and nobody was deleting it."""
    by_deadline: bool
    """The pod's deadline ended it."""
    interrupted: bool
    """The deadline ended it, or it was deleted: it did not end by itself."""
    exit_code: int | None
    """The container's; None where it never began."""
    out_of_memory: bool = False
    cannot_start: bool = False
    """The container could not be started, although it has an exit code."""
    by_others: Reason | None = None
    """Why something other than Slipway ended it."""
    detail: str = ""
    """What Kubernetes says about it."""
    memory_limit: str = ""
    """As Kubernetes writes it: `1Gi`."""


def completed() -> Outcome:
    """Return the outcome of a run that finished successfully."""
    return Outcome(status=RunStatus.COMPLETED, reason=Reason.COMPLETED, message=sentence(Reason.COMPLETED), exit_code=0)


def cancelled_before_start() -> Outcome:
    """Return the outcome of a run that was cancelled in the queue: there was no process, so there is no exit code."""
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
    """Return the failed outcome for a reason; a signal's exit code is given as a shell gives it, 128 + number."""
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


def outcome_of_process(exit_code: int, *, ended_for: Reason | None, timeout: float, detail: str = "") -> Outcome:
    """Decide the outcome of a child process. `exit_code` is negative for a signal, as in `subprocess`.

    `ended_for` is why Slipway stopped it, None where it exited by itself.
    """
    if ended_for is not None:
        return stopped_by_slipway(ended_for, exit_code=exit_code, timeout=timeout, detail=detail)
    return completed() if exit_code == 0 else _failed_by_itself(exit_code)


def outcome_of_pod(end: PodEnd, *, ended_for: Reason | None, timeout: float, detail: str = "") -> Outcome:
    """Decide the outcome of a pod. `ended_for` is why Slipway stopped it, None where it did not.

    A pod that succeeded is `completed` whatever its container's reason says.
    """
    code = end.exit_code
    if end.succeeded:
        return completed()
    if ended_for and end.interrupted:
        return stopped_by_slipway(ended_for, exit_code=code, timeout=timeout, detail=detail)
    if end.by_deadline and code is None:
        return failure(Reason.CANNOT_START, detail="The pod's deadline passed before its container started.")
    if end.by_deadline:
        return failure(Reason.TIMED_OUT, exit_code=code, limit=timeout)
    if end.out_of_memory and code != 0:
        return failure(Reason.OUT_OF_MEMORY, exit_code=code, memory_limit=end.memory_limit)
    if end.by_others:
        return failure(end.by_others, exit_code=code, detail=end.detail)
    if code is None or end.cannot_start:
        return failure(Reason.CANNOT_START, exit_code=code, detail=end.detail)
    return _failed_by_itself(128 - code if code in _SHELL_SIGNALS else code)


def _failed_by_itself(exit_code: int) -> Outcome:
    return failure(Reason.KILLED_BY_SIGNAL if exit_code < 0 else Reason.PIPELINE_ERROR, exit_code=exit_code)
