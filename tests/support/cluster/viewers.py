"""A viewer that follows a run as a browser does."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import httpx
from httpx_sse import connect_sse

from checkers.collecting import Event


class Endpoint(Protocol):
    """A launcher's address and credentials."""

    url: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate a client."""


class Viewer(threading.Thread):
    """Follows a run to its end, reconnecting with `Last-Event-ID` whenever the stream breaks."""

    def __init__(self, launcher: Endpoint, run_id: str) -> None:
        super().__init__(name=f"viewer {run_id}", daemon=True)
        self._launcher, self._run_id = launcher, run_id
        self.events: list[Event] = []
        self.streams = 0
        self.ended = False

    def connect(self) -> httpx.Client:
        """Return a client for one stream."""
        return httpx.Client(base_url=self._launcher.url, trust_env=False, timeout=30)

    def run(self) -> None:
        """Follow the run to its end."""
        last = ""
        while not self.ended:
            headers = {**self._launcher.headers, **({"Last-Event-ID": last} if last else {})}
            try:
                with (
                    self.connect() as client,
                    connect_sse(client, "GET", f"/jobs/{self._run_id}/logs", headers=headers) as stream,
                ):
                    self.streams += 1
                    for event in stream.iter_sse():
                        self.events.append((event.id, event.event, event.data))
                        last = event.id or last
                        self.ended = event.event == "end"
            except (httpx.HTTPError, httpx.StreamError):
                time.sleep(0.1)
