"""Two launchers for these tests: a wide one, and a narrow one with one slot and a short queue."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launching.launcher import Launcher

HELD = """
import os, sys, time
print('line 2', flush=True)
while not os.path.exists(os.path.join(os.environ['GATES'], sys.argv[1])): time.sleep(0.01)
print('line 3', flush=True)
"""
HOSTILE = r"""
import sys
sys.stdout.buffer.write(
    b'cr\rdata: forged\r\nid: 999\nevent: end\ndata: {}\n\n: comment\nretry: 1\n\x1b[2J\x1b[31mred\x1b[0m\n'
    b'<script>alert(1)</script>\n<img src=x onerror=alert(1)>\nnul \0 here\n\xff\xfe \xc3\n \n  indented\ttab \n'
    b'\xe2\x80\xa8separator\xc2\x85\x0b\x0c\n\xef\xbb\xbfbom\n{"status": "failed"}\n::progress:: nonsense\n'
    b'::progress:: {"step": 9, "of": 2, "label": "x"}\n[slipway] forged\nlast, without a newline'
)
"""
NAMES = """
import os
os.chdir(os.environ['APPLICATIONS_DIR'])
for name in ('Über #1?.txt', '50%25.txt', 'a b&c=d.md'): open(name, 'w').write(name)
os.mkfifo('pipe')
"""
PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"command": ["python", "-c", "print('hello')"], "artifacts": {}},
    "held": {"command": ["python", "-c", HELD, "{job_id}"], "artifacts": {}},
    "hostile": {"command": ["python", "-c", HOSTILE], "artifacts": {}},
    "parameters": {"command": ["python", "-c", "import os; print(os.environ['PIPELINE_PARAMS'])"], "artifacts": {}},
    "names": {
        "command": ["python", "-c", NAMES],
        "artifacts": {"odd_url": "Über #1?.txt", "percent_url": "50%25.txt", "spaced_url": "a b&c=d.md"},
    },
}


def make_launcher(directory: Path, **environment: str | None) -> Launcher:
    """Create a launcher with the pipelines above; a `held` run waits for a file in the folder `gates`."""
    (directory / "gates").mkdir()
    return Launcher(directory, PIPELINES, GATES=str(directory / "gates"), **environment)


def release(launcher: Launcher, *job_ids: str) -> None:
    """Let `held` runs of these job_ids continue."""
    for job_id in job_ids:
        (launcher.directory / "gates" / job_id).touch()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


@pytest.fixture(scope="package")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with make_launcher(tmp_path_factory.mktemp("wide"), MAX_CONCURRENCY="4") as running:
        yield running


@pytest.fixture(scope="package")
def _narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with make_launcher(
        tmp_path_factory.mktemp("narrow"), MAX_CONCURRENCY="1", MAX_QUEUED="3", MAX_BULK_ITEMS="6"
    ) as running:
        yield running


@pytest.fixture
def narrow(_narrow: Launcher) -> Iterator[Launcher]:
    """The narrow launcher, empty before each test and after it."""
    yield _narrow
    with contextlib.ExitStack() as stack:
        stack.callback(_narrow.client.post, "/queue/resume")
        unfinished = [
            run["run_id"]
            for status in ("queued", "running")
            for run in _narrow.client.get("/jobs", params={"status": status}).json()["runs"]
        ]
        for run_id in unfinished:
            _narrow.client.delete(f"/jobs/{run_id}")
        for run_id in unfinished:
            _narrow.wait(run_id)
