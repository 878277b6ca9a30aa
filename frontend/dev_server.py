"""Launcher and front end together, as `make serve` starts them: both end when one of them does."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import FrameType
from typing import IO

READY = "Slipway serves on "
END_SECONDS = 20


class Told(Exception):
    """A signal said to stop."""


def serve_together(host: str, port: int, environ: Mapping[str, str]) -> int:
    """Start both, and wait; returns the exit code of the one that ended first, 0 where it was asked for."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    with ExitStack() as stack:
        try:
            launcher = _start(stack, environ, "launcher.main", "serve", "--quiet")
            url = _address(launcher)
            if not url:
                return launcher.wait() or 1  # it has said why
            pages = _start(
                stack, {**environ, "RUNNER_URL": url}, "frontend", f"--host={host}", f"--port={port}", show=True
            )
            return _first_end(launcher, pages)
        except Told:
            return 0
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # asked twice, it ends all the same


def _start(
    stack: ExitStack, environ: Mapping[str, str], module: str, *arguments: str, show: bool = False
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=None if show else subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C comes to us alone, and each is told once
    )
    stack.callback(_end, process)
    return process


def _address(launcher: subprocess.Popen[str]) -> str:
    """What a launcher says that it serves on; empty when it has ended. What else it prints is not shown."""
    assert launcher.stdout is not None
    for line in launcher.stdout:
        if line.startswith(READY):
            threading.Thread(target=_drain, args=[launcher.stdout], daemon=True).start()
            return line.removeprefix(READY).strip()
    return ""


def _drain(output: IO[str]) -> None:
    for _ in output:
        pass


def _first_end(*processes: subprocess.Popen[str]) -> int:
    ended: queue.Queue[subprocess.Popen[str]] = queue.Queue()

    def watch(process: subprocess.Popen[str]) -> None:
        process.wait()
        ended.put(process)

    for process in processes:
        threading.Thread(target=watch, args=[process], daemon=True).start()
    first = ended.get()
    name = "The launcher" if first is processes[0] else "The front end"
    print(f"{name} ended with {first.returncode}; so the other ends too.", file=sys.stderr)
    return first.returncode if first.returncode > 0 else 1


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stop(number: int, frame: FrameType | None) -> None:
    raise Told
