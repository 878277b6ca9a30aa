"""Leaving in time when asked to: SIGTERM ends the pipeline with exit code 143, SIGINT with 130."""

from __future__ import annotations

import os
import signal
from types import FrameType

GRACE_SECONDS = 1.5  # how long the ordinary way out may take; the promise is to be gone within 2 s


class Stopped(SystemExit):
    """Raised where the signal struck, so that open files are closed and half-written ones removed."""

    def __init__(self, signal_name: str, exit_code: int) -> None:
        """Keep the name of the signal for the last line of the log."""
        super().__init__(exit_code)
        self.signal_name = signal_name
        self.exit_code = exit_code


def leave_on_signals() -> None:
    """From now on SIGTERM and SIGINT raise `Stopped`.

    As the first process of a container the pipeline would otherwise not notice SIGTERM at all.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    exit_code = 128 + number
    signal.signal(number, signal.SIG_IGN)  # a second signal must not disturb the tidying up
    # A library may swallow the exception or tidy up for too long: then the process ends without ceremony.
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(exit_code))
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
    raise Stopped(signal.Signals(number).name, exit_code)
