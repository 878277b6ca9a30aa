"""Opens the storage that the settings configure, and creates what records runs in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.artifacts import ArtifactFolder, artifact_urls
from launcher.background import Tasks
from launcher.domain.setting_rules.env_file import not_loaded
from launcher.folders import why_not_writable
from launcher.logs.publisher import Publisher
from launcher.mirror import Mirror
from launcher.recorder import Recorder
from launcher.settings import SharedSettings
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryLogTail
from launcher.stores.ports import LogTail, RunStore
from launcher.stores.watch import StoreWatch

if TYPE_CHECKING:
    from launcher.stores.mongodb import Client


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Everything that stores runs. `shared` is Redis and `history` is MongoDB, if they are configured.

    `watches` has one watch for each of the two by name. `mongo` is the connection to MongoDB.
    """

    archive: Archive
    artifacts: ArtifactFolder
    tail: LogTail
    shared: RunStore | None
    history: RunStore | None
    watches: Mapping[str, StoreWatch]
    mongo: Client | None = None

    def start_watches(self, stack: AsyncExitStack) -> None:
        """Check that the stores answer, until the stack closes."""
        tasks = Tasks()
        for watch in self.watches.values():
            tasks.start(watch.run(), f"watch {watch.name}")
        stack.push_async_callback(tasks.stop)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What writes runs and logs to the storage. The launcher on Kubernetes has none, because the operator records."""

    recorder: Recorder
    publisher: Publisher

    def start(self, stack: AsyncExitStack) -> None:
        """Start the background tasks, which run until the stack closes."""
        self.recorder.start()
        stack.push_async_callback(self.recorder.stop)
        stack.push_async_callback(self.publisher.stop)


def startup_faults(settings: SharedSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Check the settings against this machine; return what is wrong, by setting."""
    found = {name: why_not_writable(name, getattr(settings, name)) for name in ("ARCHIVE_DIR", "APPLICATIONS_DIR")}
    if settings.REDIS_URL:
        from launcher.stores import redis

        found["REDIS_URL"] = redis.fault_of("REDIS_URL", settings.REDIS_URL)
    if settings.MONGODB_URI:
        from launcher.stores import mongodb

        found["MONGODB_URI"] = mongodb.fault_of("MONGODB_URI", settings.MONGODB_URI)
    with suppress(OSError, ValueError):
        found |= not_loaded(Path(".env").read_text(), environ)
    return {name: fault for name, fault in found.items() if fault}


def open_storage(settings: SharedSettings, stack: AsyncExitStack) -> Storage:
    """Open the storage. Stores connect on first use, and the stack closes them."""
    archive = Archive(settings.ARCHIVE_DIR, settings.MAX_LOG_BYTES)
    artifacts = ArtifactFolder(
        settings.APPLICATIONS_DIR, max_bytes=settings.MAX_ARTIFACT_BYTES, max_files=settings.MAX_ARTIFACT_FILES
    )
    stack.callback(artifacts.close)
    tail: LogTail = InMemoryLogTail(settings.LOG_BUFFER_LIMIT)
    shared: RunStore | None = None
    history: RunStore | None = None
    watches: dict[str, StoreWatch] = {}
    mongo: Client | None = None
    if settings.REDIS_URL:  # imported only if configured: each costs 6 MB
        from launcher.stores import redis

        client = redis.connect(settings.REDIS_URL)
        stack.push_async_callback(client.aclose)
        ttl = settings.REDIS_TTL_SECONDS
        tail = redis.RedisLogTail(client, limit=settings.LOG_BUFFER_LIMIT, ttl_seconds=ttl)
        shared = redis.RedisRunStore(client, ttl_seconds=ttl)
        watches["redis"] = StoreWatch("redis", shared)
    if settings.MONGODB_URI:
        from launcher.stores import mongodb

        mongo = mongodb.connect(settings.MONGODB_URI)
        stack.push_async_callback(mongo.close)
        history = mongodb.MongoRunStore(mongo)
        watches["mongodb"] = StoreWatch("mongodb", history)
    return Storage(
        archive=archive, artifacts=artifacts, tail=tail, shared=shared, history=history, watches=watches, mongo=mongo
    )


def open_recording(settings: SharedSettings, storage: Storage) -> Recording:
    """Create what writes runs and logs to this storage."""
    mirrors: list[Mirror] = []
    if redis := storage.watches.get("redis"):
        mirrors.append(Mirror(redis, retention=timedelta(seconds=settings.REDIS_TTL_SECONDS)))
    if storage.mongo:
        from launcher.stores.mongodb import MongoWorkItems

        items, retention = MongoWorkItems(storage.mongo), timedelta(days=settings.RETENTION_DAYS)
        mirrors.append(Mirror(storage.watches["mongodb"], items=items, urls=artifact_urls, retention=retention))
    return Recording(
        recorder=Recorder(storage.archive, mirrors),
        publisher=Publisher(storage.archive, storage.tail, settings.LOG_BUFFER_LIMIT),
    )
