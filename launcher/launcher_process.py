"""Runs a launcher as a child process, for `make run` and `make serve`."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import IO, NamedTuple

READY = "Slipway serves on "
"""What a launcher prints before its URL when it is ready."""
_STOP_SECONDS = 20
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotStarted(Exception):
    """The launcher exited before it was ready. It has printed why."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(f"The launcher exited with code {exit_code}.")


class LauncherProcess(NamedTuple):
    """A launcher that is ready."""

    process: subprocess.Popen[str]
    url: str


@contextmanager
def start_launcher(environ: Mapping[str, str]) -> Iterator[LauncherProcess]:
    """Start a launcher, wait until it is ready, and stop it at the end. Raises `NotStarted`."""
    with child_process("launcher.main", "serve", "--quiet", environ=environ, stdout=subprocess.PIPE) as process:
        url = _url(process)
        if not url:
            raise NotStarted(process.wait() or 1)
        yield LauncherProcess(process, url)


@contextmanager
def child_process(
    module: str, *arguments: str, environ: Mapping[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a module as a child process, and stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        text=True,
        start_new_session=True,  # Ctrl-C must reach only the parent, which stops each child once
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def exit_on_signals(exit_code: int) -> Iterator[None]:
    """Raise `SystemExit` on the first SIGINT, SIGTERM or SIGHUP. Later ones are ignored while children stop."""

    def handle(number: int, frame: FrameType | None) -> None:
        for each in _STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(exit_code)

    before = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(launcher: subprocess.Popen[str]) -> str:
    """Return the URL that a launcher prints; empty if it exits first. Discards its other output."""
    assert launcher.stdout is not None
    for line in launcher.stdout:
        if line.startswith(READY):
            threading.Thread(target=_drain, args=[launcher.stdout], daemon=True).start()
            return line.removeprefix(READY).strip()
    return ""


def _drain(output: IO[str]) -> None:
    """Discard all output, so that the launcher never blocks on a full pipe."""
    for _ in output:
        pass
