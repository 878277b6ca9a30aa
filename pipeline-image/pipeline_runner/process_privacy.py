"""Hides this process's environment from other processes of the same user, such as Chromium."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

_PR_SET_DUMPABLE = 4


def hide_from_others(environ: Mapping[str, str]) -> None:
    """In a pod, prevent other processes of this user from reading ``/proc/PID/environ`` and the memory.

    Child processes are not protected. Outside a pod nothing is: after a crash, the local engine finds a run's
    processes by their environment.
    """
    if "KUBERNETES_SERVICE_HOST" in environ:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
