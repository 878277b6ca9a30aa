"""The operator's heartbeat: who asks is told that nothing starts while it is away, and not a moment longer."""

from __future__ import annotations

import socket
from typing import Any

from cluster.runs import let_go, until
from launching.installation import Installation

LEASE_SECONDS = 30
AWAY_SECONDS = LEASE_SECONDS + 15
"""The Lease has to last, the launcher to look, and this machine is busy."""


def health(installation: Installation) -> dict[str, Any]:
    found: dict[str, Any] = installation.launcher.client.get("/health").json()
    return found


def test_while_the_operator_is_away_health_and_waiting_runs_say_so(installation: Installation) -> None:
    launcher, operator = installation.launcher, installation.operator
    until(lambda: health(installation)["operator"] == "up")
    lease = installation.json("get", "lease", "slipway-operator")["spec"]
    assert (lease["holderIdentity"], lease["leaseDurationSeconds"]) == (socket.gethostname(), LEASE_SECONDS)
    goes_on = launcher.run("goes-on", pipeline="held")["run_id"]
    until(lambda: launcher.status(goes_on)["status"] == "running")
    operator.kill()
    try:
        waits = launcher.run("waits", pipeline="hello")["run_id"]
        until(lambda: health(installation)["operator"] == "away", AWAY_SECONDS)
        told = health(installation)
        assert (told["status"], told["kubernetes"], told["queued"]) == ("degraded", "ok", 1), told
        place = launcher.status(waits)["queue"]
        assert (place["position"], place["eta_seconds"]) == (1, None)
        assert "operator is down" in place["why"]
        assert launcher.status(goes_on)["status"] == "running"
    finally:
        operator.start()
    until(lambda: health(installation)["operator"] == "up")
    let_go(installation, goes_on)
    assert [launcher.wait(run_id)["status"] for run_id in (waits, goes_on)] == ["completed"] * 2
    until(lambda: health(installation)["status"] == "healthy")


def test_an_operator_lives_on_without_its_lease(installation: Installation) -> None:
    """As with manifests of before: nobody can tell how it is, and all else goes well."""
    installation.kubectl("delete", "lease", "slipway-operator")
    try:
        until(lambda: health(installation)["operator"] == "unknown")
        run_id = installation.launcher.run("1", pipeline="hello")["run_id"]
        assert installation.launcher.wait(run_id)["status"] == "completed"
        told = 'heartbeat: leases.coordination.k8s.io "slipway-operator" not found'
        until(lambda: told in installation.operator.log.read_text())
        assert health(installation)["status"] == "healthy"
    finally:
        metadata = {"name": "slipway-operator", "namespace": installation.namespace}
        installation.cluster.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata})
    until(lambda: health(installation)["operator"] == "up")
