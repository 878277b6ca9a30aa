"""The operator's heartbeat: how it renews its Lease, and what the launcher concludes from reading it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from launcher.cluster.port import Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectMissing
from launcher.engines.operator_liveness import OperatorLiveness
from launcher.metrics import OPERATOR_UP
from launching.fake_cluster import FakeCluster
from pipeline_operator import lease
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.lease import renew_lease

DURATION = 30
Read = str | None | Exception
"""A `renewTime`, None if the Lease was never renewed, or what the read raised."""


class Reader:
    """A launcher that reads a Lease, at times of its own clock."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.cluster = FakeCluster(ClusterCache())
        self.liveness = OperatorLiveness(self.cluster, lambda: self.at)

    def states(self, *reads: tuple[float, Read]) -> list[str]:
        """Read this many seconds after the previous read; return the state after each."""
        return [self._state(*each) for each in reads]

    def _state(self, after: float, read: Read) -> str:
        self.at += after
        if isinstance(read, Exception):
            self.cluster.faults["get Lease"] = [read]
        else:
            spec = {"spec": {"renewTime": read, "leaseDurationSeconds": DURATION}} if read else {}
            self.cluster.put("Lease", {"metadata": {"name": "slipway-operator"}, **spec})
        asyncio.run(self.liveness.check())
        return self.liveness.state


@pytest.mark.parametrize(
    ("reads", "states"),
    [
        ([(0, "a"), (5, "a"), (5, "b"), (5, "b"), (5, "c")], ["unknown", "unknown", "up", "up", "up"]),
        # killed: down exactly when the Lease expires; up with the next renewal
        ([(0, "a"), (5, "b"), (29, "b"), (1, "b"), (5, "c")], ["unknown", "up", "up", "away", "up"]),
        # the launcher starts long after the operator stopped: unknown until the Lease expires
        ([(0, "old"), (29, "old"), (1, "old")], ["unknown", "unknown", "away"]),
        # installed, but never started
        ([(0, None), (30, None), (5, "first")], ["unknown", "away", "up"]),
        # an operator whose clock is years behind, or set back, is up
        ([(0, "2026"), (9, "1999"), (29, "1998"), (29, "1997")], ["unknown", "up", "up", "up"]),
        # an outage of Kubernetes does not count as time without a renewal
        (
            [(0, "a"), (5, "b"), (5, ClusterUnavailable()), (60, ClusterUnavailable()), (5, "b"), (24, "b"), (6, "b")],
            ["unknown", "up", "unknown", "unknown", "up", "up", "away"],
        ),
        # older manifests: no Lease, or no permission to read it
        ([(0, ObjectMissing()), (60, ObjectMissing()), (5, "a")], ["unknown", "unknown", "unknown"]),
    ],
)
def test_the_operator_is_down_once_its_lease_is_unchanged_for_its_duration(
    reads: Sequence[tuple[float, Read]], states: list[str]
) -> None:
    assert Reader().states(*reads) == states


def test_an_invalid_response_does_not_stop_the_reader(caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader()
    assert reader.states((0, "a"), (5, "b"), (5, ValueError("no JSON")), (5, "c")) == ["unknown", "up", "unknown", "up"]
    assert "no JSON" in caplog.text


def test_each_change_of_state_is_logged_once_and_measured(caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader()
    reader.states((0, "a"), (5, "b"), (30, "b"), (5, "b"), (5, "b"))
    assert OPERATOR_UP.collect()[0].samples[0].value == 0
    reader.states((5, "c"), (5, "d"))
    assert OPERATOR_UP.collect()[0].samples[0].value == 1
    assert caplog.messages == ["the operator was up and is now away", "the operator was away and is now up"]


class RenewedCluster(FakeCluster):
    """Records renewals, each of which fails with an exception or succeeds; the one after the last never returns."""

    def __init__(self, *answers: Exception | None) -> None:
        super().__init__(ClusterCache())
        self.answers = list(answers)
        self.specs: list[dict[str, Any]] = []
        self.finished = asyncio.Event()

    async def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        assert (kind, name) == ("Lease", "slipway-operator")
        if not self.answers:
            self.finished.set()
            await asyncio.Event().wait()
        self.specs.append(patch["spec"])
        if answer := self.answers.pop(0):
            raise answer
        return patch


async def renewals(*answers: Exception | None) -> list[dict[str, Any]]:
    cluster = RenewedCluster(*answers)
    task = asyncio.create_task(renew_lease(cluster))
    finished = asyncio.create_task(cluster.finished.wait())
    await asyncio.wait([task, finished], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task
    task.cancel()
    return cluster.specs


@pytest.fixture
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_RENEW_SECONDS", 0)
    monkeypatch.setattr(lease, "_RETRY_SECONDS", 0)


def test_every_renewal_has_a_new_time_and_names_its_holder(no_delays: None) -> None:
    specs = asyncio.run(renewals(None, None, None))
    assert len({spec["renewTime"] for spec in specs}) == 3
    assert len({spec["acquireTime"] for spec in specs}) == len({spec["holderIdentity"] for spec in specs}) == 1
    assert specs[0]["holderIdentity"]
    assert specs[0]["leaseDurationSeconds"] == 30
    assert all(spec["acquireTime"] <= spec["renewTime"] for spec in specs)
    assert all(len(spec["renewTime"]) == len("2026-11-24T08:00:00.000000+00:00") for spec in specs)  # a MicroTime


def test_failed_renewals_are_logged_once_and_retried(no_delays: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "launcher.background")
    down = ClusterUnavailable("Kubernetes does not answer: refused")
    faults = (None, down, down, down, None, ClusterError("Kubernetes refused: forbidden"), ValueError("whatever"), None)
    assert len(asyncio.run(renewals(*faults))) == len(faults)
    assert caplog.messages == [
        "heartbeat: Kubernetes does not answer: refused",
        "heartbeat: works again",
        "heartbeat: Kubernetes refused: forbidden",
        "heartbeat failed; trying again in 0 s",
        "heartbeat: works again",
    ]
