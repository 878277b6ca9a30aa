"""Which process serves which metrics: alerts take the absence of one to mean that its process is down."""

from __future__ import annotations

import subprocess
import sys

import pytest

SERVED = "import prometheus_client; print(prometheus_client.generate_latest().decode())"


def served_after(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", f"{program}; {SERVED}"], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    ("program", "own", "others"),
    [
        (
            "from pipeline_operator.app import Operator as C\n"
            "from unittest.mock import MagicMock as M\nC(M(), M(), M(), M())",
            "slipway_log_reopened_total",
            "slipway_stream_viewers",
        ),
        (
            "from launcher.logs.hub import FeedHub as H\nfrom unittest.mock import MagicMock as M\nH(M(), M(), M())",
            "slipway_stream_viewers",
            "slipway_log_reopened_total",
        ),
    ],
    ids=["operator", "launcher"],
)
def test_a_process_serves_the_shared_metrics_and_its_own(program: str, own: str, others: str) -> None:
    served = served_after(f"import sys; sys.path[:0] = ['operator']\n{program}")
    assert f"\n{own} 0.0" in served
    assert "\nslipway_queued_runs 0.0" in served
    assert others not in served
    assert "slipway_operator_up" not in served
