"""Why a run ended: stable codes for programs, sentences for people.

A code never changes its meaning once it was released; new ones may come.
"""

from __future__ import annotations

import signal
from enum import StrEnum

from launcher.domain.text import clean_text


class Reason(StrEnum):
    """The stable code of a run's end."""

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
    """Name a signal (`SIGSEGV`); a number that has no name stays a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_SENTENCES = {
    Reason.COMPLETED: "The pipeline ended well.",
    Reason.PIPELINE_ERROR: "The pipeline ended with exit code {exit_code}; its last lines say why.",
    Reason.KILLED_BY_SIGNAL: "The pipeline was killed by {signal}.{hint}",
    Reason.TIMED_OUT: "The pipeline ran longer than {limit:g} s and was ended; timeout_seconds gives it more.",
    Reason.CANCELLED: "The run was cancelled.",
    Reason.CANNOT_START: "The pipeline could not be started.",
    Reason.ARTIFACTS_TOO_LARGE: "The pipeline's artifacts exceeded a limit.",
    Reason.LAUNCHER_LOST: "The launcher stopped while the pipeline ran, and the pipeline with it; run it again.",
    Reason.OUT_OF_MEMORY: (
        "The pipeline used more memory than it may and was killed; raise the pipeline's memory limit."
    ),
    Reason.EVICTED: ("Kubernetes ended the pipeline to free its node; run it again when the node has room."),
    Reason.INVALID_IMAGE: "The image's name is not valid; correct the pipeline's image.",
    Reason.IMAGE_PULL: "The image could not be pulled; check its name, its tag and IMAGE_PULL_SECRETS.",
    Reason.UNSCHEDULABLE: "No node has room for the pipeline; lower what it requests, or free some of the node.",
    Reason.DELETED: "The run's Job or pod was deleted before the pipeline ended; run it again.",
    Reason.NODE_LOST: "The node went away while the pipeline ran; run it again.",
    Reason.REJECTED: "This Job does not keep the form of a run, so it is not executed.",
    Reason.INTERNAL_ERROR: (
        "Slipway itself failed while it handled the run; report this with the launcher's or operator's log."
    ),
}


def sentence(reason: Reason, *, exit_code: int | None = None, limit: float | None = None, detail: str = "") -> str:
    """Say a reason in one sentence that tells what to do where something can be done.

    `exit_code` is negative for a signal, as in `subprocess`; `limit` is in seconds, for `TIMED_OUT`; `detail` is
    appended as it is, and names the limit for `ARTIFACTS_TOO_LARGE`.
    """
    name = signal_name(-(exit_code or 0)) if reason is Reason.KILLED_BY_SIGNAL else ""
    hint = " SIGKILL from outside is most often the kernel, out of memory." if name == "SIGKILL" else ""
    text = _SENTENCES[reason].format(exit_code=exit_code, limit=limit, signal=name, hint=hint)
    return clean_text(f"{text} {detail}".strip())
