"""Opens the storage that the settings configure: archive, artifacts, Redis and MongoDB."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from launcher.artifacts import ArtifactFolder, artifact_urls
from launcher.domain.setting_rules.env_file import not_loaded
from launcher.folders import why_not_writable
from launcher.logs.publisher import Publisher
from launcher.recorder import Mirror, Recorder
from launcher.settings import SharedSettings
from launcher.stores.archive import Archive
from launcher.stores.memory import InMemoryLogTail
from launcher.stores.ports import LogTail, RunStore


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Everything that stores runs. `shared` is Redis and `history` is MongoDB, if they are configured."""

    archive: Archive
    artifacts: ArtifactFolder
    tail: LogTail
    shared: RunStore | None
    history: RunStore | None
    recorder: Recorder
    publisher: Publisher


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
    mirrors: list[Mirror] = []
    if settings.REDIS_URL:  # imported only if configured: each costs 6 MB
        from launcher.stores import redis

        client = redis.connect(settings.REDIS_URL)
        stack.push_async_callback(client.aclose)
        ttl = settings.REDIS_TTL_SECONDS
        tail = redis.RedisLogTail(client, limit=settings.LOG_BUFFER_LIMIT, ttl_seconds=ttl)
        shared = redis.RedisRunStore(client, ttl_seconds=ttl)
        mirrors.append(Mirror("redis", shared, retention=timedelta(seconds=ttl)))
    if settings.MONGODB_URI:
        from launcher.stores import mongodb

        mongo = mongodb.connect(settings.MONGODB_URI)
        stack.push_async_callback(mongo.close)
        items = mongodb.MongoWorkItems(mongo)
        history = mongodb.MongoRunStore(mongo)
        retention = timedelta(days=settings.RETENTION_DAYS)
        mirrors.append(Mirror("mongodb", history, items=items, urls=artifact_urls, retention=retention))
    return Storage(
        archive=archive,
        artifacts=artifacts,
        tail=tail,
        shared=shared,
        history=history,
        recorder=Recorder(archive, mirrors),
        publisher=Publisher(archive, tail, settings.LOG_BUFFER_LIMIT),
    )
