"""The real operator as a separate process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from launching.launcher import ROOT, LauncherError

READY = "Slipway's operator watches"
START_SECONDS = 30.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02


class Operator:
    """An operator that can be stopped, killed and restarted."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.log = directory / "operator.log"
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it begins to watch."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline_operator.main"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0,  # pods with a different user than the tests' write to its folders
            )
        deadline = time.monotonic() + START_SECONDS
        while READY not in (printed := self.log.read_text(errors="replace")[before:]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise LauncherError(f"The operator did not start:\n{printed}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> int:
        """Stop it (SIGTERM), wait until it has exited, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            raise LauncherError(f"The operator did not stop:\n{self.log.read_text(errors='replace')}") from exc

    def kill(self) -> None:
        """Kill it (SIGKILL), like a crash."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self.process is not None and self.process.poll() is None
