"""Graceful termination: SIGTERM ends the pipeline with exit code 143, SIGINT with 130."""

from __future__ import annotations

import atexit
import os
import signal
from types import FrameType

GRACE_SECONDS = 1.5  # the limit for cleaning up; the pipeline promises to exit within 2 s


class Stopped(SystemExit):
    """Raised when a signal arrives, so that open files are closed and half-written ones removed."""

    def __init__(self, signal_name: str, exit_code: int) -> None:
        """Store the name of the signal for the last line of the log."""
        super().__init__(exit_code)
        self.signal_name = signal_name
        self.exit_code = exit_code


def stop_on_signals() -> None:
    """Make SIGTERM and SIGINT raise `Stopped`.

    As process 1 of a container, the pipeline would otherwise ignore SIGTERM.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    # Python removes its signal handlers before it frees its memory. An alarm would then kill it, with exit code 142.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)


def _stop(number: int, _frame: FrameType | None) -> None:
    exit_code = 128 + number
    signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the cleanup
    # A library may swallow the exception or take too long to clean up: then the process exits at once.
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(exit_code))
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
    raise Stopped(signal.Signals(number).name, exit_code)
