"""Keeping the environment of this process from others of the same user, as Chromium would be."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

_PR_SET_DUMPABLE = 4


def hide_from_others(environ: Mapping[str, str]) -> None:
    """In a pod, let no other process of this user read ``/proc/PID/environ`` or the memory.

    Programs that it starts are not hidden. Outside of a pod nothing is: after a crash the local engine finds what
    it left running by just this environment.
    """
    if "KUBERNETES_SERVICE_HOST" in environ:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
