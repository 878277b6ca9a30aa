"""The marks in the environment of a run's processes, by which they are found even if they leave their parents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil

_LOOK_SECONDS = 0.05
_SHIM_SECONDS = 5.0  # for the shim of a lost launcher to finish
_UNKILLABLE_SECONDS = 10.0
log = logging.getLogger(__name__)


def marks_of(run_id: str, archive: Path) -> dict[str, str]:
    """Return the environment variables that identify a run's processes.

    The archive is one of them, as the same Idempotency-Key gives runs of two launchers the same name.
    """
    return {"SLIPWAY_RUN_ID": run_id, "SLIPWAY_ARCHIVE": str(archive.resolve())}


def processes_of(marks: Mapping[str, str], group: int | None = None) -> list[psutil.Process]:
    """Return every living process of a run: of its group, or with the run's marks in its environment.

    The marks find what left the group (a daemon), the group what dropped its environment.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getpgid(process.pid) == group or marks.items() <= process.environ().items():
                found.append(process)
    return found


async def end_leftovers(marks: Mapping[str, str]) -> None:
    """Wait until the shim of a lost launcher has ended its run, then kill what is still running."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SHIM_SECONDS
    while loop.time() < deadline and (shims := _shims_of(marks)):
        send(signal.SIGCONT, shims)  # its run may have stopped it
        await asyncio.sleep(_LOOK_SECONDS)
    deadline = loop.time() + _UNKILLABLE_SECONDS
    while found := processes_of(marks):
        if loop.time() > deadline:
            log.error("Processes of a run cannot be ended: %s", ", ".join(str(process.pid) for process in found))
            return
        send(signal.SIGKILL, found)
        await asyncio.sleep(_LOOK_SECONDS)


def send(number: signal.Signals, processes: list[psutil.Process]) -> None:
    """Send a signal to processes; those that have ended meanwhile are skipped."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _shims_of(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Return the shims of a run: they have its marks as arguments."""
    arguments = {f"{name}={value}" for name, value in marks.items()}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if arguments <= set(process.cmdline()):
                found.append(process)
    return found
