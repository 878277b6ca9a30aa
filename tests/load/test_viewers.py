"""A thousand viewers of one busy run: each receives every line once, in order, whatever breaks meanwhile."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from launching.launcher import Launcher

VIEWERS = 1000
SECONDS = 30
PER_SECOND = 1000
PRINTER = f"""
import time
began = time.monotonic()
for n in range({SECONDS * PER_SECOND}):
    print(f'{{n:06d}} ' + 'z' * 72)
    if n % 100 == 99:
        time.sleep(max(0, began + (n + 1) / {PER_SECOND} - time.monotonic()))
"""
PIPELINES: dict[str, dict[str, Any]] = {"printer": {"command": ["python", "-c", PRINTER]}}


def watch(launcher: Launcher, run_id: str) -> subprocess.Popen[str]:
    program = str(Path(__file__).with_name("viewers.py"))
    port = str(urlsplit(launcher.url).port)
    command = [sys.executable, program, port, launcher.secret, run_id, str(VIEWERS), "10", "7"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result(viewers: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = viewers.communicate(timeout=300)
    assert viewers.returncode == 0
    totals: dict[str, Any] = json.loads(output)
    return totals


@pytest.mark.load
def test_a_thousand_viewers_receive_every_line_once_in_order(tmp_path: Path, redis_url: str) -> None:
    with Launcher(tmp_path, PIPELINES, REDIS_URL=redis_url) as launcher:
        run_id = launcher.run("1", pipeline="printer")["run_id"]
        totals = result(watch(launcher, run_id))
        log = launcher.log(run_id)
        assert launcher.status(run_id)["log"] == {
            "lines": SECONDS * PER_SECOND + 1,
            "bytes": len(log),
            "complete": True,
            "gaps": [],
        }
    assert (totals["errors"], totals["finished"], totals["statuses"]) == ([], VIEWERS, ["completed"])
    assert totals["hashes"] == [hashlib.sha256(log).hexdigest()]
    assert totals["connections"] > VIEWERS


@pytest.mark.load
def test_a_thousand_viewers_reconnect_to_a_launcher_killed_during_the_run(tmp_path: Path, redis_url: str) -> None:
    with Launcher(tmp_path, PIPELINES, REDIS_URL=redis_url) as launcher:
        run_id = launcher.run("1", pipeline="printer")["run_id"]
        viewers = watch(launcher, run_id)
        deadline = time.monotonic() + 120
        while launcher.log(run_id).count(b"\n") < SECONDS * PER_SECOND / 3:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        launcher.kill()
        launcher.start()
        totals = result(viewers)
        log = launcher.log(run_id)
        run = launcher.status(run_id)
    assert (run["status"], run["reason"], run["log"]["complete"]) == ("failed", "LauncherLost", False)
    assert (totals["errors"], totals["finished"], totals["statuses"]) == ([], VIEWERS, ["failed"])
    assert totals["last"] == [run["log"]["lines"]]
    pipeline_lines = b"".join(line for line in log.splitlines(keepends=True) if not line.startswith(b"[slipway] "))
    assert totals["hashes"] == [hashlib.sha256(pipeline_lines).hexdigest()]
    assert totals["connections"] > VIEWERS
