"""The interface to Kubernetes, as the launcher and the operator use it: one namespace, in plain dictionaries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

Manifest = dict[str, Any]
"""A Kubernetes object or patch, as in the API's JSON."""


class Listing(NamedTuple):
    """The objects, or a page of them, at one resource version of the cluster."""

    items: list[Manifest]
    version: int


class WatchEvent(NamedTuple):
    """An object after a change, or as it was when it was deleted or stopped matching the selector."""

    object: Manifest
    deleted: bool


class Cluster(Protocol):
    """One namespace of a cluster. Any call can raise `ClusterUnavailable`, which callers retry, or `ClusterError`."""

    @property
    def unavailable_at(self) -> datetime | None:
        """When the API server last failed to answer; None if it always answered."""

    async def close(self) -> None:
        """Close all connections."""

    async def get(self, kind: str, name: str) -> Manifest:
        """Return an object."""

    async def list(self, kind: str, *, labels: str = "", fields: str = "") -> Listing:
        """Return the objects that match the label and field selectors."""

    def pages(self, kind: str, *, labels: str = "") -> AsyncIterator[Listing]:
        """Yield the objects that match the label selector in pages of the same version, to need less memory."""

    def watch(
        self, kind: str, *, labels: str = "", since: int
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Open the stream of changes after a version. The server ends it at times, or refuses a version that is old."""

    async def create(self, kind: str, manifest: Manifest) -> Manifest:
        """Create an object; return it as stored."""

    async def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        """Apply a merge patch (RFC 7396) and return the object. If the patch has a `uid`, the object's must match."""

    async def delete(self, kind: str, name: str, uid: str) -> None:
        """Delete the object with this uid and, in the background, its dependents."""

    def log(
        self,
        pod: str,
        container: str,
        *,
        since: str | None = None,
        follow: bool = True,
        last_lines: int | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a container's log as bytes in which each line starts with its timestamp.

        `since` is an RFC 3339 time in whole seconds. Raises `ClusterError` if the container has no log yet.
        """
