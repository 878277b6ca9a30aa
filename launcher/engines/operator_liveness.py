"""The operator's heartbeat as the launcher hears it: one task looks at the Lease, whoever asks how the operator is."""

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

_LOOK_SECONDS = 5.0
log = logging.getLogger(__name__)


class OperatorLiveness:
    """Knows whether the operator lives. Looks all the time: a Lease that is looked at once tells nothing of its age."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._clock = cluster, clock
        self._observation: LeaseObservation | None = None
        expose(OPERATOR_UP)

    @property
    def state(self) -> Literal["up", "away", "unknown"]:
        """How the operator was at the last look; unknown where Kubernetes did not tell."""
        return self._observation.state if self._observation else "unknown"

    async def run(self) -> None:
        """Look every few seconds."""
        await repeat("operator's heartbeat", self.look, every_seconds=_LOOK_SECONDS)

    async def look(self) -> None:
        """Look once. Nothing is raised: what cannot be seen now may be seen the next time."""
        before = self.state
        try:
            lease = await self._cluster.get("Lease", labels.LEASE)
            self._observation = observe_lease(self._observation, lease, self._clock())
        except Exception as exc:
            if not isinstance(exc, ClusterError):
                log.exception("the operator's Lease")
            self._observation = self._observation and self._observation.missed()
        OPERATOR_UP.set(self.state != "away")
        if before != self.state and "away" in (before, self.state):
            log.warning("the operator was %s, and is %s", before, self.state)
