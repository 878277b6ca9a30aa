"""The real front end as a separate process, in front of a launcher that a test started."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import httpx

from launching.service_process import ROOT, ServiceProcess, inherited

READY = re.compile(r"Slipway's pages are on (\S+)\n")


class Frontend(ServiceProcess):
    """A front end for the launcher at `runner_url`; `environment` overrides settings, None unsets one."""

    def __init__(self, directory: Path, runner_url: str, secret: str, **environment: str | None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.password = secrets.token_urlsafe(12)
        settings: dict[str, str | None] = {
            **inherited(),
            "RUNNER_URL": runner_url,
            "RUNNER_API_SECRET": secret,
            "FRONTEND_PASSWORD": self.password,
            "FRONTEND_PORT": "0",
            "POSTINGS_DIR": str(ROOT / "pipeline-image/samples/postings"),
            **environment,
        }
        super().__init__("front end", "frontend", directory / "frontend.log", settings)
        self.url = ""

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.url = self.start_until(self._serving_url)

    def _serving_url(self, printed: str) -> str | None:
        found = READY.search(printed)
        return found[1] if found and self._answers(found[1]) else None

    def _answers(self, url: str) -> bool:
        try:
            return httpx.get(f"{url}/login", trust_env=False, timeout=5).status_code < 500
        except httpx.TransportError:
            return False
