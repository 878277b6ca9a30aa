"""Launcher, operator and stores may be killed at any moment: nothing is lost, doubled or reordered."""

from __future__ import annotations

import random
import threading
import time
from functools import partial

import httpx
from httpx_sse import connect_sse

from checkers.collecting import Event, check_log, check_outcome
from checkers.findings import report
from cluster.conftest import recorded, until
from launching.installation import Installation

LINES = 7500


class Viewer(threading.Thread):
    """One who follows a run to its end, coming back with `Last-Event-ID` whenever the stream breaks."""

    def __init__(self, installation: Installation, run_id: str) -> None:
        super().__init__(name=f"viewer {run_id}", daemon=True)
        self._launcher, self._run_id = installation.launcher, run_id
        self.events: list[Event] = []
        self.ended = False

    def run(self) -> None:
        """Follow."""
        last = ""
        while not self.ended:
            headers = {**self._launcher.headers, **({"Last-Event-ID": last} if last else {})}
            try:
                with (
                    httpx.Client(base_url=self._launcher.url, trust_env=False, timeout=30) as client,
                    connect_sse(client, "GET", f"/jobs/{self._run_id}/logs", headers=headers) as stream,
                ):
                    for event in stream.iter_sse():
                        self.events.append((event.id, event.event, event.data))
                        last = event.id or last
                        self.ended = event.event == "end"
            except (httpx.HTTPError, httpx.StreamError):
                time.sleep(0.1)


def test_ten_kills_of_the_operator_lose_and_double_no_line(installation: Installation) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    moments = random.Random(seed)
    runs = [installation.launcher.run(str(n), pipeline="printer-500")["run_id"] for n in range(5)]
    viewers = [Viewer(installation, run_id) for run_id in runs]
    for viewer in viewers:
        viewer.start()
    until(lambda: b"0000" in installation.launcher.log(runs[0]))
    for _ in range(10):
        time.sleep(moments.uniform(0.05, 2))
        installation.operator.kill()
        installation.operator.start()
    for run_id, viewer in zip(runs, viewers, strict=True):
        run = installation.launcher.wait(run_id, seconds=120)
        assert (run["status"], run["exit_code"]) == ("completed", 0), (seed, run)
        viewer.join(30)
        assert viewer.ended
        findings = check_log(installation, run_id, LINES, streams=[viewer.events, installation.launcher.events(run_id)])
        until(partial(recorded, installation, run_id))
        findings += check_outcome(installation, run_id)
        assert not findings, f"seed {seed}: {report(findings)}"
