"""The operator's heartbeat: what it writes whatever fails, and what the launcher makes of what it sees."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest

from launcher.cluster.port import Cluster
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectMissing
from launcher.engines.operator_liveness import OperatorLiveness
from launcher.metrics import OPERATOR_UP
from pipeline_operator import lease
from pipeline_operator.lease import renew_lease

LASTS = 30
Seen = str | None | Exception
"""A `renewTime`, None where it was never renewed, or what the look raised."""


class Looked:
    """A launcher that looks at a Lease, at times of its own clock."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.sees: Seen = None
        self.hearing = OperatorLiveness(cast(Cluster, self), lambda: self.at)

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        assert (kind, name) == ("Lease", "slipway-operator")
        if isinstance(self.sees, Exception):
            raise self.sees
        return {"spec": {"renewTime": self.sees, "leaseDurationSeconds": LASTS}} if self.sees else {}

    def states(self, *looks: tuple[float, Seen]) -> list[str]:
        """Look so many seconds after the look before; return what is said after each."""
        return [self._state(*each) for each in looks]

    def _state(self, after: float, sees: Seen) -> str:
        self.at, self.sees = self.at + after, sees
        asyncio.run(self.hearing.check())
        return self.hearing.state


@pytest.mark.parametrize(
    ("looks", "states"),
    [
        ([(0, "a"), (5, "a"), (5, "b"), (5, "b"), (5, "c")], ["unknown", "unknown", "up", "up", "up"]),
        # killed: away as soon as the Lease has lasted, and not a moment before; back with the next renewal
        ([(0, "a"), (5, "b"), (29, "b"), (1, "b"), (5, "c")], ["unknown", "up", "up", "away", "up"]),
        # the launcher starts when the operator has long been away: it does not say so before it knows
        ([(0, "old"), (29, "old"), (1, "old")], ["unknown", "unknown", "away"]),
        # installed, and never begun
        ([(0, None), (30, None), (5, "first")], ["unknown", "away", "up"]),
        # an operator whose clock is years behind, or set back, lives all the same
        ([(0, "2026"), (9, "1999"), (29, "1998"), (29, "1997")], ["unknown", "up", "up", "up"]),
        # nobody can renew while Kubernetes is away: that time does not count
        (
            [(0, "a"), (5, "b"), (5, ClusterUnavailable()), (60, ClusterUnavailable()), (5, "b"), (24, "b"), (6, "b")],
            ["unknown", "up", "unknown", "unknown", "up", "up", "away"],
        ),
        # manifests of before, without a Lease or the right to see it
        ([(0, ObjectMissing()), (60, ObjectMissing()), (5, "a")], ["unknown", "unknown", "unknown"]),
    ],
)
def test_the_operator_is_away_when_its_lease_was_seen_unchanged_for_as_long_as_it_lasts(
    looks: Sequence[tuple[float, Seen]], states: list[str]
) -> None:
    assert Looked().states(*looks) == states


def test_what_is_wrong_with_an_answer_does_not_end_the_looking(caplog: pytest.LogCaptureFixture) -> None:
    looked = Looked()
    assert looked.states((0, "a"), (5, "b"), (5, ValueError("no JSON")), (5, "c")) == ["unknown", "up", "unknown", "up"]
    assert "no JSON" in caplog.text


def test_going_and_coming_back_are_told_once_each_and_measured(caplog: pytest.LogCaptureFixture) -> None:
    looked = Looked()
    looked.states((0, "a"), (5, "b"), (30, "b"), (5, "b"), (5, "b"))
    assert OPERATOR_UP.collect()[0].samples[0].value == 0
    looked.states((5, "c"), (5, "d"))
    assert OPERATOR_UP.collect()[0].samples[0].value == 1
    assert caplog.messages == ["the operator was up and is now away", "the operator was away and is now up"]


class Renewed:
    """Takes renewals, and fails as told; the last one never ends."""

    def __init__(self, *fails: Exception | None) -> None:
        self.fails = list(fails)
        self.specs: list[dict[str, Any]] = []
        self.over = asyncio.Event()

    async def patch(self, kind: str, name: str, patch: dict[str, Any]) -> None:
        assert (kind, name) == ("Lease", "slipway-operator")
        if not self.fails:
            self.over.set()
            await asyncio.Event().wait()
        self.specs.append(patch["spec"])
        if fails := self.fails.pop(0):
            raise fails


async def beaten(*fails: Exception | None) -> list[dict[str, Any]]:
    cluster = Renewed(*fails)
    task = asyncio.create_task(renew_lease(cast(Cluster, cluster)))
    over = asyncio.create_task(cluster.over.wait())
    await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task
    task.cancel()
    return cluster.specs


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_RENEW_SECONDS", 0)
    monkeypatch.setattr(lease, "_RETRY_SECONDS", 0)


def test_every_renewal_differs_and_says_who_lives_and_since_when(impatient: None) -> None:
    specs = asyncio.run(beaten(None, None, None))
    assert len({spec["renewTime"] for spec in specs}) == 3
    assert len({spec["acquireTime"] for spec in specs}) == len({spec["holderIdentity"] for spec in specs}) == 1
    assert specs[0]["holderIdentity"]
    assert specs[0]["leaseDurationSeconds"] == 30
    assert all(spec["acquireTime"] <= spec["renewTime"] for spec in specs)
    assert all(len(spec["renewTime"]) == len("2026-11-24T08:00:00.000000+00:00") for spec in specs)  # a MicroTime


def test_renewals_that_fail_are_told_once_and_tried_again(impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "launcher.background")
    away = ClusterUnavailable("Kubernetes does not answer: refused")
    fails = (None, away, away, away, None, ClusterError("Kubernetes refused: forbidden"), ValueError("whatever"), None)
    assert len(asyncio.run(beaten(*fails))) == len(fails)
    assert caplog.messages == [
        "heartbeat: Kubernetes does not answer: refused",
        "heartbeat: works again",
        "heartbeat: Kubernetes refused: forbidden",
        "heartbeat failed; trying again in 0 s",
        "heartbeat: works again",
    ]
