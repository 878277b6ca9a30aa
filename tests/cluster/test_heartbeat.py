"""The operator's heartbeat: while the operator is down, and only then, callers see that no run starts."""

from __future__ import annotations

import socket
from typing import Any

from cluster.runs import finish_held_run, until
from launcher.domain.queue_places import OPERATOR_DOWN
from launching.installation import Installation

LEASE_SECONDS = 30
DETECTION_SECONDS = LEASE_SECONDS + 15
"""The Lease has to expire and the launcher to notice; allows for a busy machine."""


def health(installation: Installation) -> dict[str, Any]:
    found: dict[str, Any] = installation.launcher.client.get("/health").json()
    return found


def test_health_and_waiting_runs_show_that_the_operator_is_down(installation: Installation) -> None:
    launcher, operator = installation.launcher, installation.operator
    until(lambda: health(installation)["operator"] == "up")
    lease = installation.json("get", "lease", "slipway-operator")["spec"]
    assert (lease["holderIdentity"], lease["leaseDurationSeconds"]) == (socket.gethostname(), LEASE_SECONDS)
    running = launcher.run("running", pipeline="held")["run_id"]
    until(lambda: launcher.status(running)["status"] == "running")
    operator.kill()
    try:
        waiting = launcher.run("waiting", pipeline="hello")["run_id"]
        until(lambda: health(installation)["operator"] == "away", DETECTION_SECONDS)
        found = health(installation)
        assert (found["status"], found["kubernetes"], found["queued"]) == ("degraded", "ok", 1), found
        place = launcher.status(waiting)["queue"]
        assert (place["position"], place["eta_seconds"]) == (1, None)
        assert place["why"] == OPERATOR_DOWN
        assert launcher.status(running)["status"] == "running"
    finally:
        operator.start()
    until(lambda: health(installation)["operator"] == "up")
    finish_held_run(installation, running)
    assert [launcher.wait(run_id)["status"] for run_id in (waiting, running)] == ["completed"] * 2
    until(lambda: health(installation)["status"] == "healthy")


def test_operator_works_without_its_lease(installation: Installation) -> None:
    """As with older manifests: its state is unknown, and everything else works."""
    installation.kubectl("delete", "lease", "slipway-operator")
    try:
        until(lambda: health(installation)["operator"] == "unknown")
        run_id = installation.launcher.run("1", pipeline="hello")["run_id"]
        assert installation.launcher.wait(run_id)["status"] == "completed"
        error = 'heartbeat: leases.coordination.k8s.io "slipway-operator" not found'
        until(lambda: error in installation.operator.printed)
        assert health(installation)["status"] == "healthy"
    finally:
        metadata = {"name": "slipway-operator", "namespace": installation.namespace}
        installation.cluster.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata})
    until(lambda: health(installation)["operator"] == "up")
