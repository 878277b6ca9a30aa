"""The real launcher as a separate process, and a client for it."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from httpx_sse import connect_sse

from launching.service_process import (
    POLL_SECONDS,
    ROOT,
    ServiceError,
    ServiceProcess,
    inherited,
)

READY = "Slipway serves on "
LauncherError = ServiceError
"""The launcher did not start or stop, or refused a request."""


class LauncherClient:
    """A launcher as its clients see it. `connect` chooses the address."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.environment: dict[str, str] = {}
        """Its settings, as far as tests need them."""
        self.url = ""
        self.client = httpx.Client()

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate a client."""
        return {"Authorization": f"Bearer {self.secret}"}

    def connect(self, url: str) -> None:
        """Use the launcher at this address from now on, with the current secret."""
        self.url = url
        self.client.close()
        self.client = httpx.Client(base_url=url, headers=self.headers, trust_env=False, timeout=30)

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


class Launcher(ServiceProcess, LauncherClient):
    """A launcher with its own folders; its port and secret stay the same across restarts.

    `pipelines` maps names to entries as in PIPELINES_FILE; `environment` overrides settings, None unsets one.
    """

    def __init__(
        self, directory: Path, pipelines: dict[str, dict[str, Any]] | None = None, **environment: str | None
    ) -> None:
        self.directory = directory
        LauncherClient.__init__(self, secrets.token_hex(32))
        directory.mkdir(parents=True, exist_ok=True)
        settings: dict[str, str | None] = {
            **inherited(),
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
        ServiceProcess.__init__(
            self, "launcher", "launcher.main serve --quiet", directory / "launcher.log", settings | environment
        )

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.connect(self.start_until(self._serving_url))
        self.environment["PORT"] = self.url.rsplit(":", 1)[1]

    def _serving_url(self, printed: str) -> str | None:
        """Return its URL once the application is ready, which is later than the port listens."""
        _, found, rest = printed.partition(READY)
        url, complete, _ = rest.partition("\n")
        if not (found and complete):
            return None
        try:
            httpx.get(f"{url.strip()}/readyz", trust_env=False, timeout=30).raise_for_status()
        except httpx.HTTPError:
            return None
        return url.strip()

    def __exit__(self, *error: object) -> None:
        self.client.close()
        super().__exit__(*error)


def _body(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise LauncherError(f"{answer.status_code}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body
