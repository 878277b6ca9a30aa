"""Marks a run's processes with environment variables, and finds them by these after they have left their parents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil

_POLL_SECONDS = 0.05
_SHIM_SECONDS = 5.0  # for the shim of a dead launcher to finish
_UNKILLABLE_SECONDS = 10.0
log = logging.getLogger(__name__)


def marks_of(run_id: str, archive: Path) -> dict[str, str]:
    """Return the environment variables that identify a run's processes.

    They include the archive, because two launchers can have runs with the same id, from the same Idempotency-Key.
    """
    return {"SLIPWAY_RUN_ID": run_id, "SLIPWAY_ARCHIVE": str(archive.resolve())}


def processes_of(marks: Mapping[str, str], group: int | None = None) -> list[psutil.Process]:
    """Return every running process of a run: those in its group, and those with its marks in their environment.

    A daemon has left the group but has the marks; a process with a new environment is still in the group.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getpgid(process.pid) == group or marks.items() <= process.environ().items():
                found.append(process)
    return found


async def kill_leftovers(marks: Mapping[str, str]) -> None:
    """Wait for the shim of a dead launcher to stop its run, then kill the processes that are left."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SHIM_SECONDS
    while loop.time() < deadline and (shims := _shims_of(marks)):
        send(signal.SIGCONT, shims)  # the run may have suspended it
        await asyncio.sleep(_POLL_SECONDS)
    deadline = loop.time() + _UNKILLABLE_SECONDS
    while found := processes_of(marks):
        if loop.time() > deadline:
            pids = ", ".join(str(process.pid) for process in found)
            log.error("run %s: cannot kill its processes: %s", marks["SLIPWAY_RUN_ID"], pids)
            return
        send(signal.SIGKILL, found)
        await asyncio.sleep(_POLL_SECONDS)


def send(number: signal.Signals, processes: list[psutil.Process]) -> None:
    """Send a signal to processes, except those that have exited in the meantime."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _shims_of(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Return the shims of a run, which have its marks as arguments."""
    arguments = {f"{name}={value}" for name, value in marks.items()}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if arguments <= set(process.cmdline()):
                found.append(process)
    return found
