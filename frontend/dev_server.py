"""Launcher and pages together, for development (`make serve`): when one of them ends, so does the other."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Mapping

from launcher.launcher_process import NotStarted, child_process, exit_on_signals, start_launcher


def serve_together(host: str, port: int, environ: Mapping[str, str]) -> int:
    """Start both and wait. Returns the exit code of the one that ends first; a signal exits with 0."""
    arguments = ("frontend", f"--host={host}", f"--port={port}")
    with exit_on_signals(0):
        try:
            with (
                start_launcher(environ) as launcher,
                child_process(*arguments, environ={**environ, "RUNNER_URL": launcher.url}) as pages,
            ):
                return _first_end({launcher.process: "The launcher", pages: "The front end"})
        except NotStarted as exc:
            return exc.exit_code


def _first_end(names: Mapping[subprocess.Popen[str], str]) -> int:
    ended: queue.Queue[subprocess.Popen[str]] = queue.Queue()

    def watch(process: subprocess.Popen[str]) -> None:
        process.wait()
        ended.put(process)

    for process in names:
        threading.Thread(target=watch, args=[process], daemon=True).start()
    first = ended.get()
    print(f"{names[first]} ended with exit code {first.returncode}, so the other was stopped.", file=sys.stderr)
    return first.returncode if first.returncode > 0 else 1
