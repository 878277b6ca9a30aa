"""The operator's heartbeat: renews the Lease while the operator is alive."""

from __future__ import annotations

import socket

from launcher.background import repeat
from launcher.cluster import labels, manifests
from launcher.cluster.port import Cluster
from launcher.domain.errors import ClusterError
from launcher.domain.runs import now

_RENEW_SECONDS = 10.0
_RETRY_SECONDS = 2.0


async def renew_lease(cluster: Cluster) -> None:
    """Renew the Lease every few seconds."""
    holder, since = socket.gethostname(), now()  # in a pod, the pod's name

    async def renew() -> None:
        await cluster.patch("Lease", labels.LEASE, manifests.renewal_patch(holder, since, now()))

    await repeat(
        "heartbeat", renew, every_seconds=_RENEW_SECONDS, expected=(ClusterError,), retry_seconds=_RETRY_SECONDS
    )
