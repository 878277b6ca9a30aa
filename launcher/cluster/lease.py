"""Whether the operator is alive, from repeated reads of its Lease. Pure.

As in client-go's leader election, clocks of different machines are never compared. What counts is how long `renewTime`
has not changed, by the reader's own clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from launcher.cluster.port import Manifest

LEASE_SECONDS = 30
"""How long a Lease is valid after its last renewal."""


@dataclass(frozen=True, kw_only=True)
class LeaseObservation:
    """The Lease as last read."""

    renew_time: str | None
    duration_seconds: float
    read_at: float | None
    """None if the last read failed. The time until the next read then does not count as time without a renewal."""
    unchanged_seconds: float = 0.0
    renewed: bool = False
    """Whether a renewal has been observed. Until then, the age of `renew_time` is unknown."""

    @property
    def state(self) -> Literal["up", "away", "unknown"]:
        """Whether the operator is alive."""
        if self.read_at is None:
            return "unknown"
        if self.unchanged_seconds >= self.duration_seconds:
            return "away"
        return "up" if self.renewed else "unknown"

    def missed(self) -> LeaseObservation:
        """Return the observation after a read that failed."""
        return replace(self, read_at=None)


def observe_lease(before: LeaseObservation | None, lease: Manifest, at: float) -> LeaseObservation:
    """Return the observation after a read. `at` is a time of the reader's monotonic clock."""
    spec = lease.get("spec") or {}  # empty before the first renewal
    now = LeaseObservation(
        renew_time=spec.get("renewTime"),
        duration_seconds=spec.get("leaseDurationSeconds") or LEASE_SECONDS,
        read_at=at,
    )
    if before is None:
        return now
    if now.renew_time != before.renew_time:
        return replace(now, renewed=True)
    passed = 0.0 if before.read_at is None else at - before.read_at
    return replace(now, unchanged_seconds=before.unchanged_seconds + passed, renewed=before.renewed)
