"""Logs that the node rotates or that exceed MAX_LOG_BYTES: missing lines are marked once and reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from checkers.collecting import check_log, check_outcome
from checkers.findings import report
from checkers.printing import command as printer
from cluster.cluster import Cluster
from cluster.runs import recorded, until
from launching.installation import Installation
from servers.redis_server import RedisServer

LINES = 24_000
RATE = 2000
FLOOD = 400_000
MAX_LOG_BYTES = 8 << 20
PIPELINES: dict[str, dict[str, Any]] = {
    "steady": {"command": printer(LINES, rate=RATE), "artifacts": {}},
    # It waits first: lines rotated away before the kubelet serves any log cannot be noticed by anyone.
    "flood": {"command": ["sh", "-c", 'sleep 3; exec "$@"', "sh", *printer(FLOOD)], "artifacts": {}},
}

pytestmark = pytest.mark.disruptive


@pytest.fixture(scope="module")
def rotating(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[Installation]:
    """An installation on a node that rotates logs at 500 KiB: every two seconds with the `steady` pipeline."""
    if not cluster.can_control:
        pytest.skip("This cluster's kubelet is not ours to configure.")
    redis_server.revive()
    directory = tmp_path_factory.mktemp("rotating")
    with (
        cluster.log_rotation("500Ki"),
        Installation(
            cluster, directory, PIPELINES, REDIS_URL=redis_server.url, MAX_LOG_BYTES=str(MAX_LOG_BYTES)
        ) as running,
    ):
        yield running


def test_log_rotated_while_it_is_followed_is_complete(rotating: Installation) -> None:
    run_id = rotating.launcher.run("1", pipeline="steady")["run_id"]
    run = rotating.launcher.wait(run_id, seconds=90)
    findings = check_log(rotating, run_id, LINES)
    assert not findings, report(findings)
    assert run["log"]["complete"]


def test_lines_rotated_away_while_the_operator_is_down_are_a_reported_gap(rotating: Installation) -> None:
    run_id = rotating.launcher.run("2", pipeline="steady")["run_id"]
    until(lambda: len(rotating.launcher.log(run_id).splitlines()) > RATE)
    rotating.operator.kill()
    files = rotating.cluster.pod_logs
    until(lambda: len(list(files.glob(f"{rotating.namespace}_{run_id}*/*/0.log.*"))) >= 2)  # twice: more than one file
    rotating.operator.start()
    run = rotating.launcher.wait(run_id, seconds=90)
    assert (run["status"], run["log"]["complete"], len(run["log"]["gaps"])) == ("completed", False, 1), run
    assert "rotated" in run["log"]["gaps"][0]["why"]
    findings = check_log(rotating, run_id, LINES, gaps_allowed=True)
    assert not findings, report(findings)


def test_log_over_the_limit_is_cut_with_one_marker_and_the_run_completes(rotating: Installation) -> None:
    run_id = rotating.launcher.run("3", pipeline="flood")["run_id"]
    run = rotating.launcher.wait(run_id, seconds=90)
    assert (run["status"], run["exit_code"], run["log"]["complete"]) == ("completed", 0, False), run
    (gap,) = run["log"]["gaps"]
    assert "MAX_LOG_BYTES" in gap["why"]
    text = rotating.launcher.log(run_id)
    assert run["log"]["bytes"] == len(text) <= MAX_LOG_BYTES + 200
    assert text.count(b"[slipway] ") == 1
    assert text.splitlines()[-1].startswith(b"[slipway] The log passed")
    until(lambda: recorded(rotating, run_id))
    findings = check_outcome(rotating, run_id)
    assert not findings, report(findings)
