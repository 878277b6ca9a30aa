"""A program of Slipway as a separate process: what the launcher, the operator and the front end of the tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

ROOT = Path(__file__).resolve().parents[3]
INHERITED = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
START_SECONDS = 30.0
POLL_SECONDS = 0.02
T = TypeVar("T")


class ServiceError(RuntimeError):
    """The program did not start or stop; the message ends with its output."""


def inherited() -> dict[str, str | None]:
    """Return the test's own variables that every program needs."""
    return {name: os.environ.get(name) for name in INHERITED}


class ServiceProcess(ABC):
    """A program that can be started, stopped, killed and restarted. Its output is appended to a log file."""

    stop_seconds = 20.0

    def __init__(self, name: str, command: str, log: Path, environment: Mapping[str, str | None]) -> None:
        self._name, self._command, self._log_file = name, command, log
        self.environment = {name: value for name, value in environment.items() if value is not None}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def printed(self) -> str:
        """All output so far."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self.process is not None and self.process.poll() is None

    def start_until(self, ready: Callable[[str], T | None], *, umask: int = -1) -> T:
        """Start it, and wait until `ready` returns something for the output of this start; return that."""
        before = len(self.printed)
        with self._log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._command.split()],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=umask,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (found := ready(printed := self.printed[before:])):
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"The {self._name} did not start:\n{printed}")
            time.sleep(POLL_SECONDS)
        return found

    def stop(self) -> int:
        """Stop it (SIGTERM), wait until it has exited, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            raise ServiceError(
                f"The {self._name} did not stop within {self.stop_seconds:.0f} s:\n{self.printed}"
            ) from exc

    def kill(self) -> None:
        """Kill it (SIGKILL), like a crash."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it is ready."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.running:
            self.stop()
