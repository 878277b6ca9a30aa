"""HEAD: every GET route answers it with the same status and headers, without a body."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from launching.launcher import Launcher

from .conftest import make_launcher, release, until

ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
def run(launcher: Launcher) -> dict[str, Any]:
    return launcher.wait(launcher.run("head", pipeline="names")["run_id"])


@pytest.mark.parametrize(
    "path",
    ["/health", "/livez", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json", "/jobs", "/jobs?per_page=0"]
    + [f"/jobs/{{run_id}}/{call}" for call in ("status", "request", "log", "logs", "logs?after=x", "nope")]
    + ["/artifacts/{run_id}/50%2525.txt", "/artifacts/{run_id}/missing", "/jobs/nope/logs", "/nope"],
)
def test_head_answers_like_get_without_a_body(launcher: Launcher, run: dict[str, Any], path: str) -> None:
    url = path.format(run_id=run["run_id"])
    expected, answer = launcher.client.get(url), launcher.client.head(url)
    assert (answer.status_code, answer.content) == (expected.status_code, b"")
    varying = {"date", "content-length", "transfer-encoding"}
    assert set(answer.headers) - varying == set(expected.headers) - varying
    assert answer.headers.get("content-type") == expected.headers.get("content-type")
    assert launcher.client.head(url, headers={"Authorization": ""}).status_code in (expected.status_code, 401)


def test_head_of_an_artifact_announces_the_complete_file(launcher: Launcher, run: dict[str, Any]) -> None:
    answer = launcher.client.head(run["artifacts"]["percent_url"], headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len("50%25.txt")))


@pytest.mark.parametrize(
    "path", ["/jobs/run", "/jobs/run-bulk", "/queue/pause", "/jobs/some-run/ticket", "/jobs/some-run"]
)
def test_head_without_a_get_route_is_method_not_allowed(launcher: Launcher, path: str) -> None:
    answer = launcher.client.head(path)
    assert (answer.status_code, answer.content) == (405, b"")
    assert answer.headers["allow"] in ("POST", "DELETE")


def test_head_of_a_live_stream_opens_none_and_keeps_the_connection(tmp_path: Path) -> None:
    with make_launcher(tmp_path, CORS_ORIGINS=ORIGIN) as launcher:
        run_id = launcher.run("h", pipeline="held")["run_id"]
        until(lambda: launcher.status(run_id)["status"] == "running")
        answers = [launcher.client.head(f"/jobs/{run_id}/logs", headers={"Origin": ORIGIN}) for _ in range(5)]
        assert {answer.headers["content-type"] for answer in answers} == {"text/event-stream; charset=utf-8"}
        assert {answer.headers["access-control-allow-origin"] for answer in answers} == {ORIGIN}
        metrics = launcher.client.get("/metrics").text
        assert "slipway_stream_viewers 0.0" in metrics
        counted = re.search(
            r'slipway_http_seconds_count\{method="GET",route="/jobs/\{run_id\}/logs",status="200"\} 5', metrics
        )
        assert counted, metrics
        release(launcher, "h")
        launcher.wait(run_id)
        assert "Traceback" not in (launcher.directory / "launcher.log").read_text()
