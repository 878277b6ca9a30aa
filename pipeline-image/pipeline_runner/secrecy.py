"""Keeping the environment of this process from others of the same user, as Chromium would be."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def hide_from_others() -> None:
    """Let no other process of this user read ``/proc/PID/environ`` or the memory; programs it starts are not hidden."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
