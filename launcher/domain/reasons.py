"""Why a run ended: stable codes for programs, sentences for people.

A code never changes its meaning once it was released; new ones may come.
"""

from __future__ import annotations

import signal
from enum import StrEnum


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


def signal_name(number: int) -> str:
    """Name a signal (`SIGSEGV`); a number that has no name stays a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def sentence(reason: Reason, *, exit_code: int | None = None, limit: float | None = None, detail: str = "") -> str:
    """Say a reason in one sentence that tells what to do where something can be done.

    `exit_code` is negative for a signal, as in `subprocess`; `limit` is in seconds for `TIMED_OUT` and in bytes for
    `ARTIFACTS_TOO_LARGE`; `detail` is appended as it is.
    """
    match reason:
        case Reason.COMPLETED:
            text = "The pipeline ended well."
        case Reason.PIPELINE_ERROR:
            text = f"The pipeline ended with exit code {exit_code}; its last lines say why."
        case Reason.KILLED_BY_SIGNAL:
            name = signal_name(-(exit_code or 0))
            hint = " SIGKILL from outside is most often the kernel, out of memory." if name == "SIGKILL" else ""
            text = f"The pipeline was killed by {name}.{hint}"
        case Reason.TIMED_OUT:
            text = f"The pipeline ran longer than {limit:g} s and was ended; timeout_seconds gives it more."
        case Reason.CANCELLED:
            text = "The run was cancelled."
        case Reason.CANNOT_START:
            text = "The pipeline could not be started."
        case Reason.ARTIFACTS_TOO_LARGE:
            text = f"The pipeline wrote more than {limit:.0f} bytes of artifacts and was ended (MAX_ARTIFACT_BYTES)."
        case Reason.LAUNCHER_LOST:
            text = "The launcher stopped while the pipeline ran, and the pipeline with it; run it again."
    return f"{text} {detail}".strip()
