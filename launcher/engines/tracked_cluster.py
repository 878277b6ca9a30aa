"""What the Kubernetes engine needs from the cluster, and a wrapper that remembers whether it answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from launcher.cluster.client import Listing, Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable

T = TypeVar("T")


class ClusterPort(Protocol):
    """Reads and writes the objects of one namespace; see `Cluster`."""

    async def get(self, kind: str, name: str) -> Manifest: ...

    async def list(self, kind: str, *, labels: str = "") -> Listing: ...

    async def create(self, kind: str, manifest: Manifest) -> Manifest: ...

    async def patch(self, kind: str, name: str, patch: Manifest) -> Manifest: ...

    async def close(self) -> None: ...


class TrackedCluster:
    """A cluster that remembers whether it answered the last call. An error is an answer too."""

    def __init__(self, cluster: ClusterPort) -> None:
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
