"""A hostile run harms only itself: no secret, service, stream or other run suffers from its files or output."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.runs import finish_held_run, recorded, until
from launching.hostile import HARMLESS, HOSTILE
from launching.installation import Installation


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    redis_server.revive()
    with Installation(cluster, tmp_path_factory.mktemp("slipway"), HOSTILE, REDIS_URL=redis_server.url) as running:
        yield running


@pytest.mark.parametrize("name", ["swap-link", "swap-fifo"])
def test_file_swapped_during_a_read_is_served_unchanged_or_not_found(installation: Installation, name: str) -> None:
    launcher = installation.launcher
    run_id = launcher.run(name, pipeline=name)["run_id"]
    until(lambda: b"swapping" in launcher.log(run_id))
    answers = set()
    for _ in range(300):
        answer = launcher.client.get(f"/artifacts/{run_id}/CV.md", timeout=5)
        answers.add(answer.status_code)
        assert answer.text == HARMLESS if answer.status_code == 200 else answer.status_code == 404, answer.text
    assert 200 in answers
    before = time.monotonic()
    assert launcher.client.get("/livez").status_code == launcher.client.get("/health").status_code == 200
    assert time.monotonic() - before < 5
    finish_held_run(installation, run_id)
    assert launcher.wait(run_id)["status"] == "completed"


def test_file_with_a_non_unicode_name_is_listed_escaped_and_served(installation: Installation) -> None:
    launcher = installation.launcher
    run_id = launcher.run("1", pipeline="latin-1-name")["run_id"]
    run = launcher.wait(run_id)
    assert (run["status"], run["artifacts"]) == (
        "completed",
        {"report_url": f"/artifacts/{run_id}/M%5Cxfcller.pdf"},
    )
    assert launcher.client.get(run["artifacts"]["report_url"]).text == "x"
    until(lambda: recorded(installation, run_id))


def test_lone_surrogate_in_a_progress_report_does_not_end_the_stream(installation: Installation) -> None:
    launcher = installation.launcher
    run_id = launcher.run("1", pipeline="half-emoji-progress")["run_id"]
    events = launcher.events(run_id)
    progress = [json.loads(data) for _, name, data in events if name == "progress"]
    assert progress == [{"step": 1, "of": 2, "label": "\N{REPLACEMENT CHARACTER}"}]
    assert [data for _, name, data in events if name == "message"][-1] == "a line after it"
    assert events[-1][1] == "end"
