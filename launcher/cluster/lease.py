"""What the operator's Lease says to one who looks at it again and again. Pure.

As client-go's leader election does, the clocks of two machines are never compared: what counts is for how long
`renewTime` was seen not to change, on the clock of who looks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from launcher.cluster.port import Manifest

LEASE_SECONDS = 30
"""How long a Lease lasts that is not renewed."""


@dataclass(frozen=True, kw_only=True)
class LeaseObservation:
    """The operator's sign of life, as it was at the last look."""

    renewed: str | None
    lasts_seconds: float
    looked_at: float | None
    """None where the last look saw no Lease: who did not look cannot say that nothing changed meanwhile."""
    silent_seconds: float = 0.0
    beats: bool = False
    """Whether a renewal was seen: at first sight nobody knows how old `renewed` is."""

    @property
    def state(self) -> Literal["up", "away", "unknown"]:
        """How the operator is."""
        if self.looked_at is None:
            return "unknown"
        if self.silent_seconds >= self.lasts_seconds:
            return "away"
        return "up" if self.beats else "unknown"

    def missed(self) -> LeaseObservation:
        """Return what is known after a look that saw nothing."""
        return replace(self, looked_at=None)


def observe_lease(before: LeaseObservation | None, lease: Manifest, at: float) -> LeaseObservation:
    """Return what a look at the Lease tells after the one before; `at` is of the looker's own monotonic clock."""
    spec = lease.get("spec") or {}  # none before the first renewal
    now = LeaseObservation(
        renewed=spec.get("renewTime"),
        lasts_seconds=spec.get("leaseDurationSeconds") or LEASE_SECONDS,
        looked_at=at,
    )
    if before is None:
        return now
    if now.renewed != before.renewed:
        return replace(now, beats=True)
    passed = 0.0 if before.looked_at is None else at - before.looked_at
    return replace(now, silent_seconds=before.silent_seconds + passed, beats=before.beats)
