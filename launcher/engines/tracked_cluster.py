"""A `Cluster` that tracks whether Kubernetes answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from launcher.cluster.port import Cluster, Listing, Manifest, WatchEvent
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

    async def pages(self, kind: str, *, labels: str = "") -> AsyncIterator[Listing]:
        """See `Cluster`."""
        with self._tracking():
            async for page in self._cluster.pages(kind, labels=labels):
                self.reachable = True
                yield page

    @asynccontextmanager
    async def watch(self, kind: str, *, labels: str = "", since: int) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """See `Cluster`."""
        with self._tracking():
            async with self._cluster.watch(kind, labels=labels, since=since) as events:
                self.reachable = True
                yield events

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
        with self._tracking():
            answer = await call
        self.reachable = True
        return answer

    @contextmanager
    def _tracking(self) -> Iterator[None]:
        try:
            yield
        except ClusterUnavailable:
            self.reachable = False
            raise
        except ClusterError:
            self.reachable = True
            raise
