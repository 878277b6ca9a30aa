"""Reasons why a run finished: stable codes for programs, sentences for people.

A code never changes its meaning once it has been released; new ones may be added.
"""

from __future__ import annotations

import signal
from enum import StrEnum

from launcher.domain.text import clean_text


class Reason(StrEnum):
    """The stable code for why a run finished."""

    COMPLETED = "Completed"
    PIPELINE_ERROR = "PipelineError"
    KILLED_BY_SIGNAL = "KilledBySignal"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    CANNOT_START = "CannotStart"
    ARTIFACTS_TOO_LARGE = "ArtifactsTooLarge"
    LAUNCHER_LOST = "LauncherLost"
    OUT_OF_MEMORY = "OutOfMemory"
    EVICTED = "Evicted"
    INVALID_IMAGE = "InvalidImage"
    IMAGE_PULL = "ImagePull"
    UNSCHEDULABLE = "Unschedulable"
    DELETED = "Deleted"
    NODE_LOST = "NodeLost"
    REJECTED = "Rejected"
    INTERNAL_ERROR = "InternalError"


def signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGSEGV`, or `signal N` if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_SENTENCES = {
    Reason.COMPLETED: "The pipeline finished successfully.",
    Reason.PIPELINE_ERROR: "The pipeline failed with exit code {exit_code}. The last lines of its log say why.",
    Reason.KILLED_BY_SIGNAL: "The pipeline was killed by {signal}.{hint}",
    Reason.TIMED_OUT: "The pipeline ran longer than {limit:g} s and was stopped. A higher timeout_seconds allows more.",
    Reason.CANCELLED: "The run was cancelled.",
    Reason.CANNOT_START: "The pipeline could not be started.",
    Reason.ARTIFACTS_TOO_LARGE: "The pipeline's artifacts exceeded a limit.",
    Reason.LAUNCHER_LOST: "The launcher stopped during the run, so the pipeline was stopped too. Run it again.",
    Reason.OUT_OF_MEMORY: (
        "The pipeline exceeded its memory limit{memory} and was killed. Raise the pipeline's memory limit."
    ),
    Reason.EVICTED: "Kubernetes evicted the pipeline to free its node. Run it again when the node has room.",
    Reason.INVALID_IMAGE: "The image's name is not valid. Correct the pipeline's image.",
    Reason.IMAGE_PULL: "The image could not be pulled. Check its name, its tag and IMAGE_PULL_SECRETS.",
    Reason.UNSCHEDULABLE: "No node has room for the pipeline. Lower its resource requests, or free up the node.",
    Reason.DELETED: "The run's Job or pod was deleted before the pipeline finished. Run it again.",
    Reason.NODE_LOST: "The node was lost while the pipeline was running. Run it again.",
    Reason.REJECTED: "This Job does not meet the requirements for a run, so it was not executed.",
    Reason.INTERNAL_ERROR: (
        "Slipway itself failed during the run. Report this with the log of the launcher or operator."
    ),
}
_UNITS = {"Ki": "KiB", "Mi": "MiB", "Gi": "GiB", "Ti": "TiB"}


def sentence(
    reason: Reason,
    *,
    exit_code: int | None = None,
    limit: float | None = None,
    memory_limit: str = "",
    detail: str = "",
) -> str:
    """Return the sentence for a reason: what happened and, if possible, what to do.

    `exit_code` is negative for a signal, as in `subprocess`. `limit` is in seconds, for `TIMED_OUT`. `memory_limit` is
    a Kubernetes quantity, for `OUT_OF_MEMORY`. `detail` is appended unchanged.
    """
    name = signal_name(-(exit_code or 0)) if reason is Reason.KILLED_BY_SIGNAL else ""
    hint = " This usually means that the machine ran out of memory." if name == "SIGKILL" else ""
    memory = f" ({_quantity(memory_limit)})" if memory_limit else ""
    text = _SENTENCES[reason].format(exit_code=exit_code, limit=limit, signal=name, hint=hint, memory=memory)
    return clean_text(f"{text} {detail}".strip())


def _quantity(text: str) -> str:
    """Format a Kubernetes quantity for people: `1Gi` becomes 1 GiB."""
    number, unit = text[:-2], _UNITS.get(text[-2:])
    return f"{number} {unit}" if unit else text
