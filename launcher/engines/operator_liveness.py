"""Whether the operator is alive, from its Lease. One task reads the Lease for all callers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal

from launcher.background import repeat
from launcher.cluster import labels
from launcher.cluster.lease import LeaseObservation, observe_lease
from launcher.cluster.port import Cluster
from launcher.domain.errors import ClusterError
from launcher.metrics import OPERATOR_UP, expose

_CHECK_SECONDS = 5.0
log = logging.getLogger(__name__)


class OperatorLiveness:
    """Watches the operator's Lease. It reads the Lease repeatedly, because a single read does not show its age."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._clock = cluster, clock
        self._observation: LeaseObservation | None = None
        expose(OPERATOR_UP)

    @property
    def state(self) -> Literal["up", "away", "unknown"]:
        """The operator's state at the last check; unknown if Kubernetes did not answer."""
        return self._observation.state if self._observation else "unknown"

    async def run(self) -> None:
        """Check every few seconds."""
        await repeat("operator liveness", self.check, every_seconds=_CHECK_SECONDS)

    async def check(self) -> None:
        """Check once. Does not raise errors, because the next check may succeed."""
        before = self.state
        try:
            lease = await self._cluster.get("Lease", labels.LEASE)
            self._observation = observe_lease(self._observation, lease, self._clock())
        except Exception as exc:
            if not isinstance(exc, ClusterError):
                log.exception("cannot read the operator's Lease")
            self._observation = self._observation and self._observation.missed()
        OPERATOR_UP.set(self.state != "away")
        if before != self.state and "away" in (before, self.state):
            log.warning("the operator was %s and is now %s", before, self.state)
