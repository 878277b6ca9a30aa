"""The real launcher as a separate process, and a client for it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml
from httpx_sse import connect_sse

ROOT = Path(__file__).resolve().parents[3]
READY = "Slipway serves on "
START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
INHERITED = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


class LauncherError(RuntimeError):
    """The launcher did not start or stop, or refused a request; the message ends with its output."""


class Launcher:
    """A launcher with its own folders; its port and secret stay the same across restarts.

    `pipelines` maps names to entries as in PIPELINES_FILE; `environment` overrides settings, None unsets one.
    """

    def __init__(
        self, directory: Path, pipelines: dict[str, dict[str, Any]] | None = None, **environment: str | None
    ) -> None:
        self.directory = directory
        self.secret = secrets.token_hex(32)
        directory.mkdir(parents=True, exist_ok=True)
        settings: dict[str, str | None] = {name: os.environ.get(name) for name in INHERITED}
        settings |= {
            "RUNNER_API_SECRET": self.secret,
            "PORT": "0",
            "ARCHIVE_DIR": str(directory / "archive"),
            "APPLICATIONS_DIR": str(directory / "applications"),
            "POSTINGS_DIR": str(ROOT / "pipeline-image/samples/postings"),
            "MASTER_CV": str(ROOT / "pipeline-image/samples/master-cv.md"),
            "RATE_LIMIT_PER_MINUTE": "10000000",
            "TERMINATION_GRACE_SECONDS": "1",
        }
        if pipelines is not None:
            file = directory / "pipelines.yaml"
            file.write_text(yaml.safe_dump(pipelines))
            settings["PIPELINES_FILE"] = str(file)
        settings |= environment
        self.environment = {name: value for name, value in settings.items() if value is not None}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.client = httpx.Client()

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate a client."""
        return {"Authorization": f"Bearer {self.secret}"}

    def start(self) -> None:
        """Start it and wait until it serves."""
        log = self.directory / "launcher.log"
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "launcher.main", "serve", "--quiet"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            printed = log.read_text(errors="replace")[before:]
            if (at := printed.find(READY)) >= 0 and "\n" in printed[at:]:
                self.url = printed[at + len(READY) :].split("\n", 1)[0].strip()
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise LauncherError(f"The launcher did not start:\n{printed}")
            time.sleep(POLL_SECONDS)
        self.environment["PORT"] = self.url.rsplit(":", 1)[1]
        self.client.close()
        self.client = httpx.Client(base_url=self.url, headers=self.headers, trust_env=False, timeout=30)
        while True:  # the port listens before the application is ready
            try:
                self.client.get("/readyz").raise_for_status()
                return
            except httpx.HTTPError as exc:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise LauncherError(f"The launcher is not ready:\n{log.read_text(errors='replace')}") from exc
                time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop it (SIGTERM) and wait until it has exited."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            printed = (self.directory / "launcher.log").read_text(errors="replace")
            raise LauncherError(f"The launcher did not stop within {STOP_SECONDS:.0f} s:\n{printed}") from exc

    def kill(self) -> None:
        """Kill it (SIGKILL), like a crash."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def run(self, job_id: str, **options: Any) -> dict[str, Any]:
        """Launch a run."""
        return _body(self.client.post("/jobs/run", json={"job_id": job_id, **options}))

    def status(self, run_id: str) -> dict[str, Any]:
        """Return the current state of a run."""
        return _body(self.client.get(f"/jobs/{run_id}/status"))

    def wait(self, run_id: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until a run has finished, and return it."""
        deadline = time.monotonic() + seconds
        while (run := self.status(run_id))["status"] in ("queued", "running"):
            if time.monotonic() > deadline:
                raise LauncherError(f"The run did not finish within {seconds:.0f} s: {run}")
            time.sleep(POLL_SECONDS)
        return run

    def events(self, run_id: str, after: int = 0) -> list[tuple[str, str, str]]:
        """Follow a run to its end; return each event's id, name and data."""
        with connect_sse(self.client, "GET", f"/jobs/{run_id}/logs", params={"after": after}) as stream:
            return [(event.id, event.event, event.data) for event in stream.iter_sse()]

    def log(self, run_id: str) -> bytes:
        """Return the whole log as text."""
        return self.client.get(f"/jobs/{run_id}/log").raise_for_status().content

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()


def _body(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise LauncherError(f"{answer.status_code}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body
