"""A `Cluster` that tracks whether Kubernetes answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from launcher.cluster.port import Cluster, Listing, Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable

T = TypeVar("T")


class TrackedCluster:
    """Tracks whether the last call was answered. An error response is an answer too."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.reachable = True

    async def get(self, kind: str, name: str) -> Manifest:
        """See `Cluster`."""
        return await self._track(self._cluster.get(kind, name))

    async def list(self, kind: str, *, labels: str = "") -> Listing:
        """See `Cluster`."""
        return await self._track(self._cluster.list(kind, labels=labels))

    async def create(self, kind: str, manifest: Manifest) -> Manifest:
        """See `Cluster`."""
        return await self._track(self._cluster.create(kind, manifest))

    async def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        """See `Cluster`."""
        return await self._track(self._cluster.patch(kind, name, patch))

    async def close(self) -> None:
        """Close all connections."""
        await self._cluster.close()

    async def _track(self, call: Awaitable[T]) -> T:
        try:
            answer = await call
        except ClusterUnavailable:
            self.reachable = False
            raise
        except ClusterError:
            self.reachable = True
            raise
        self.reachable = True
        return answer
