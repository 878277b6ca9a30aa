"""The operator's heartbeat: a Lease, Kubernetes' own object for that, which it renews as long as it lives."""

from __future__ import annotations

import asyncio
import logging
import socket

from launcher.cluster import labels, manifests
from launcher.cluster.client import Cluster
from launcher.domain.runs import now

_RENEW_SECONDS = 10.0
_RETRY_SECONDS = 2.0
log = logging.getLogger(__name__)


async def beat(cluster: Cluster) -> None:
    """Renew the Lease for ever. What fails is told once, and tried again until it is well."""
    holder, since = socket.gethostname(), now()  # in a pod its name
    well = True
    while True:
        try:
            await cluster.patch("Lease", labels.LEASE, manifests.renewal_patch(holder, since, now()))
            if not well:
                log.info("heartbeat: the Lease is renewed again")
            well = True
        except Exception as exc:  # whatever it is: runs must not wait for a heartbeat
            if well:
                log.warning("heartbeat: the Lease is not renewed: %s", exc)
            well = False
        await asyncio.sleep(_RENEW_SECONDS if well else _RETRY_SECONDS)
