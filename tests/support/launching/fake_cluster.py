"""A fake cluster: stores objects, sends their changes to a cache, and serves logs."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol

from launcher.cluster.port import Listing, Manifest, WatchEvent
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectChanged, ObjectExists, ObjectMissing
from launcher.domain.runs import now
from launcher.logs.sink import timestamp

PAGE_SIZE = 2


class Observer(Protocol):
    """Receives each change: a cache, or an operator."""

    def observe_job(self, job: Manifest, *, deleted: bool = False) -> None: ...

    def observe_pod(self, pod: Manifest, *, deleted: bool = False) -> None: ...


class FakeCluster:
    """A `Cluster` that stores objects like the API server, updates a cache, and serves logs like the kubelet."""

    def __init__(self, cache: Observer) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.watched = {"Job", "Pod"}
        """The kinds whose changes reach the cache."""
        self.calls: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        """What the next calls that start with this text raise."""
        self.unavailable_at: datetime | None = None
        self.cache, self._version = cache, 0
        self._lines: dict[str, list[bytes]] = {}
        self._changes: list[tuple[str, Manifest, bool]] = []
        self._watches_ended = 0
        self._changed = asyncio.Event()

    def put(self, kind: str, manifest: Manifest) -> Manifest:
        self._version += 1
        kept = copy.deepcopy(manifest)
        kept["metadata"]["resourceVersion"] = str(self._version)
        kept["metadata"].setdefault("uid", f"{kind}-{self._version}")
        kept["metadata"].setdefault("creationTimestamp", f"{now():%Y-%m-%dT%H:%M:%SZ}")
        self.objects[kind, kept["metadata"]["name"]] = kept
        self._notify(kind, kept, deleted=False)
        return copy.deepcopy(kept)

    def remove(self, kind: str, name: str) -> None:
        self._version += 1
        kept = self.objects.pop((kind, name))
        kept["metadata"]["resourceVersion"] = str(self._version)
        self._notify(kind, kept, deleted=True)

    def say(self, pod: str, *lines: str) -> None:
        """Print lines in the pod's container."""
        self.say_bytes(pod, *(line.encode() for line in lines))

    def say_bytes(self, pod: str, *lines: bytes) -> None:
        """Print lines of bytes in the pod's container."""
        self._lines.setdefault(pod, []).extend(timestamp().encode() + b" " + line + b"\n" for line in lines)
        self._wake()

    async def get(self, kind: str, name: str) -> Manifest:
        self._call(f"get {kind} {name}")
        return copy.deepcopy(self._kept(kind, name))

    async def list(self, kind: str, *, labels: str = "", fields: str = "") -> Listing:
        self._call(f"list {kind}")
        found = [
            copy.deepcopy(kept)
            for (held, _), kept in self.objects.items()
            if held == kind and matches(kept, labels, fields)
        ]
        return Listing(found, self._version)

    async def pages(self, kind: str, *, labels: str = "") -> AsyncIterator[Listing]:
        found, version = await self.list(kind, labels=labels)
        for start in range(0, len(found) or 1, PAGE_SIZE):
            yield Listing(found[start : start + PAGE_SIZE], version)

    @asynccontextmanager
    async def watch(self, kind: str, *, labels: str = "", since: int) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        self._call(f"watch {kind}")
        yield self._events(kind, labels, since)

    def end_watches(self) -> None:
        """End all watches, as the API server does from time to time."""
        self._watches_ended += 1
        self._wake()

    async def _events(self, kind: str, labels: str, since: int) -> AsyncIterator[WatchEvent]:
        sent, ended = 0, self._watches_ended
        while ended == self._watches_ended:
            if sent == len(self._changes):
                await self._changed.wait()
                continue
            changed, kept, deleted = self._changes[sent]
            sent += 1
            if changed == kind and int(kept["metadata"]["resourceVersion"]) > since:
                yield WatchEvent(copy.deepcopy(kept), deleted or not matches(kept, labels))

    async def create(self, kind: str, manifest: Manifest) -> Manifest:
        self._call(f"create {kind} {manifest['metadata']['name']}")
        if (kind, manifest["metadata"]["name"]) in self.objects:
            raise ObjectExists("already exists")
        return self.put(kind, manifest)

    async def close(self) -> None:
        pass

    async def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        self._call(f"patch {kind} {name}")
        kept = self._kept(kind, name)
        if patch.get("metadata", {}).get("uid", kept["metadata"]["uid"]) != kept["metadata"]["uid"]:
            raise ClusterError("Kubernetes refused: metadata.uid: Invalid value: field is immutable")
        return self.put(kind, merged(kept, patch))

    async def delete(self, kind: str, name: str, uid: str) -> None:
        self._call(f"delete {kind} {name}")
        if self._kept(kind, name)["metadata"]["uid"] != uid:
            raise ObjectChanged("Precondition failed: UID in precondition")
        self.remove(kind, name)

    @asynccontextmanager
    async def log(
        self, pod: str, container: str, *, since: str | None = None, follow: bool = True, last_lines: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self._call(f"log {pod}")
        [status] = self._kept("Pod", pod)["status"].get("containerStatuses") or [{"name": container, "state": {}}]
        assert status["name"] == container
        if not status["state"].keys() & {"running", "terminated"}:
            raise ClusterError(f'Kubernetes refused: container "{container}" in pod "{pod}" is waiting to start')
        yield self._log(pod, since, follow, last_lines)

    async def _log(self, pod: str, since: str | None, follow: bool, last_lines: int | None) -> AsyncIterator[bytes]:
        sent = 0
        while True:
            lines = [line for line in self._lines.get(pod, []) if since is None or line.decode()[:19] >= since[:19]]
            lines = lines if last_lines is None else lines[-last_lines:]
            if chunk := b"".join(lines[sent:]):
                sent = len(lines)
                yield chunk
                continue
            held = self.objects.get(("Pod", pod))
            if not follow or held is None or held["status"]["phase"] != "Running" or ended_in(held):
                return
            await self._changed.wait()

    def _call(self, call: str) -> None:
        self.calls.append(call)
        for beginning, faults in self.faults.items():
            if call.startswith(beginning) and faults:
                fault = faults.pop(0)
                if isinstance(fault, ClusterUnavailable) and not call.startswith("log"):
                    self.unavailable_at = now()
                raise fault

    def _kept(self, kind: str, name: str) -> Manifest:
        if (kind, name) not in self.objects:
            raise ObjectMissing(f'"{name}" not found')
        return self.objects[kind, name]

    def _notify(self, kind: str, kept: Manifest, *, deleted: bool) -> None:
        self._changes.append((kind, copy.deepcopy(kept), deleted))
        if kind in self.watched:
            see = {"Job": self.cache.observe_job, "Pod": self.cache.observe_pod}[kind]
            see(copy.deepcopy(kept), deleted=deleted)
        self._wake()

    def _wake(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()


def matches(kept: Manifest, *selectors: str) -> bool:
    """Whether an object matches all selectors."""
    return all(selects(term, kept) for selector in selectors for term in selector.split(",") if term)


def selects(term: str, kept: Manifest) -> bool:
    """Whether an object matches a selector's term: `a`, `a=b` or `a!=b`."""
    name, equals, text = term.partition("!=" if "!=" in term else "=")
    value = field(kept, name)
    found = {"": value is not None, "=": value == text, "!=": value != text}
    return bool(found[equals])


def field(kept: Manifest, name: str) -> Any:
    """The label, or the field with this path."""
    if name in (kept["metadata"].get("labels") or {}):
        return kept["metadata"]["labels"][name]
    value: Any = kept
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def merged(target: Manifest, patch: Manifest) -> Manifest:
    """RFC 7396."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name) or {}, value) if isinstance(value, dict) else value
    return result


def ended_in(pod: Manifest) -> bool:
    """Whether the container has terminated, which the kubelet knows before the pod's phase changes."""
    return any("terminated" in status["state"] for status in pod["status"].get("containerStatuses") or ())
