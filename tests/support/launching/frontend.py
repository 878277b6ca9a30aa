"""The real front end as a separate process, in front of a launcher that a test started."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from launching.launcher import INHERITED, POLL_SECONDS, ROOT, START_SECONDS, STOP_SECONDS

READY = re.compile(r"Slipway's pages are on (\S+)\n")


class FrontendError(RuntimeError):
    """The front end did not start or stop; the message ends with its output."""


class Frontend:
    """A front end for the launcher at `runner_url`; `environment` overrides settings, None unsets one."""

    def __init__(self, directory: Path, runner_url: str, secret: str, **environment: str | None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.password = secrets.token_urlsafe(12)
        self._output = directory / "frontend.log"
        settings: dict[str, str | None] = {name: os.environ.get(name) for name in INHERITED}
        settings |= {
            "RUNNER_URL": runner_url,
            "RUNNER_API_SECRET": secret,
            "FRONTEND_PASSWORD": self.password,
            "FRONTEND_PORT": "0",
            "POSTINGS_DIR": str(ROOT / "pipeline-image/samples/postings"),
        }
        settings |= environment
        self.environment = {name: value for name, value in settings.items() if value is not None}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def printed(self) -> str:
        """Its output so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "frontend"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (found := READY.search(self.printed)) or not self._answers(found[1]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise FrontendError(f"The front end did not start:\n{self.printed}")
            time.sleep(POLL_SECONDS)
        self.url = found[1]

    def stop(self) -> None:
        """Stop it (SIGTERM) and wait until it has exited."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as exc:
            self.process.kill()
            self.process.wait()
            raise FrontendError(f"The front end did not stop within {STOP_SECONDS:.0f} s:\n{self.printed}") from exc

    def _answers(self, url: str) -> bool:
        try:
            return httpx.get(f"{url}/login", trust_env=False, timeout=5).status_code < 500
        except httpx.TransportError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
