"""Whatever a run writes and prints, it finishes, its stream ends, and the launcher keeps responding."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from checkers.hostile import check_events, outputs, shapes
from launching import shapes as pipeline
from launching.launcher import Launcher
from launching.shapes import Entry

HEALTH_SECONDS = 0.5  # ten times its own limit, because the machine may be busy
MAX_PARAM = 4096  # characters


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    entry = {
        "command": [sys.executable, "-I", str(Path(pipeline.__file__))],
        "artifacts": {"cv_md_url": "CV.md", "report_url": "*.pdf", "any_url": "*"},
    }
    with Launcher(tmp_path_factory.mktemp("any"), {"any": entry}) as running:
        yield running


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes, output=outputs, exit_code=st.sampled_from([0, 3]))
def test_any_run_finishes_and_its_stream_ends(
    launcher: Launcher, shape: list[Entry], output: bytes, exit_code: int
) -> None:
    params = {"shape": json.dumps(shape), "output": base64.b64encode(output).decode(), "exit_code": exit_code}
    assume(all(len(str(value)) <= MAX_PARAM for value in params.values()))
    run_id = launcher.run("1", pipeline="any", params=params)["run_id"]
    assert median(health_seconds(launcher) for _ in range(5)) < HEALTH_SECONDS
    check_events(launcher.events(run_id))
    run = launcher.wait(run_id)
    assert run["reason"] == "ArtifactsTooLarge" or run["exit_code"] == exit_code, run
    for url in run["artifacts"].values():
        answer = launcher.client.get(url, headers={"Range": "bytes=0-99"})
        assert answer.status_code in (200, 206, 404, 416), (url, answer.text)
    assert launcher.client.get("/jobs").status_code == 200


def health_seconds(launcher: Launcher) -> float:
    before = time.perf_counter()
    assert launcher.client.get("/health").status_code == 200
    return time.perf_counter() - before
