"""Long requests let others proceed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx

from .conftest import make_launcher

ITEMS = 500


def test_bulk_requests_and_long_lists_let_other_requests_proceed(tmp_path: Path) -> None:
    with make_launcher(tmp_path, MAX_QUEUED="1000", MAX_CONCURRENCY="1") as launcher:
        launcher.client.post("/queue/pause")
        times: list[float] = []
        done = threading.Event()

        def send() -> None:
            with httpx.Client(base_url=launcher.url, trust_env=False, timeout=20) as client:
                while not done.is_set():
                    times.append(client.get("/health").elapsed.total_seconds())

        sender = threading.Thread(target=send)
        sender.start()
        began = time.monotonic()
        body = {"job_ids": [str(n) for n in range(ITEMS)], "pipeline": "hello"}
        assert launcher.client.post("/jobs/run-bulk", json=body).json()["accepted"] == ITEMS
        assert len(launcher.client.get("/jobs", params={"per_page": ITEMS}).json()["runs"]) == ITEMS
        took = time.monotonic() - began
        done.set()
        sender.join()
        assert len(times) > 10
        assert max(times) < took / 3
