"""The doctor's reading of the nodes' conditions."""

from __future__ import annotations

import pytest

from launcher.cli import cluster_checks


@pytest.mark.parametrize(
    ("conditions", "state", "found", "do"),
    [
        ({"Ready": "True", "DiskPressure": "False"}, "ok", "n: ready, no pressure", ""),
        ({"Ready": "True", "EtcdIsVoter": "True"}, "ok", "n: ready, no pressure", ""),
        ({"Ready": "True", "DiskPressure": "True"}, "fail", "n: DiskPressure", "Free memory or disk space"),
        ({"Ready": "Unknown", "DiskPressure": "Unknown"}, "fail", "n: not ready", "journalctl --unit k3s"),
        ({}, "fail", "n: not ready", "journalctl --unit k3s"),
    ],
)
def test_a_node_is_ready_and_under_no_pressure(
    conditions: dict[str, str], state: str, found: str, do: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = [{"type": kind, "status": status} for kind, status in conditions.items()]
    node = {"metadata": {"name": "n"}, "status": {"conditions": reported}}
    monkeypatch.setattr(cluster_checks, "items", lambda kind: [node])
    [finding] = cluster_checks._nodes()
    assert (finding.state, finding.found) == (state, found)
    assert do in finding.do
