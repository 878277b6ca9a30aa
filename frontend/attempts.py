"""Attempts to sign in, counted for each visitor: in MongoDB for all instances together, else in this process."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pymongo import MongoClient, ReturnDocument

MOST = 10
WINDOW_SECONDS = 900


class Attempts(Protocol):
    """How often each visitor tried of late."""

    def allowed(self, visitor: str) -> bool:
        """Count one attempt; False when it is one too many."""

    def forget(self, visitor: str) -> None:
        """Count anew from here: the visitor knows the password."""


class AttemptsInMemory:
    """For one process, as in development."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, list[float]] = {}

    def allowed(self, visitor: str) -> bool:
        """As the protocol says."""
        now = time.monotonic()
        with self._lock:
            recent = {who: [at for at in times if now - at < WINDOW_SECONDS] for who, times in self._times.items()}
            self._times = {who: times for who, times in recent.items() if times}
            times = self._times.setdefault(visitor, [])
            if len(times) >= MOST:
                return False
            times.append(now)
            return True

    def forget(self, visitor: str) -> None:
        """As the protocol says."""
        with self._lock:
            self._times.pop(visitor, None)


class AttemptsInMongoDB:
    """For all instances of the function; a TTL index clears what is over."""

    def __init__(self, uri: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            connect=False,  # at the first question: a name server that is down keeps no page from being served
            serverSelectionTimeoutMS=5000,
            tz_aware=True,
        )
        self._collection = self._client["jobs"]["sign_in_attempts"]

    def allowed(self, visitor: str) -> bool:
        """As the protocol says; PyMongoError when the database is away."""
        self._collection.create_index("ends", expireAfterSeconds=0)
        window = int(time.time() // WINDOW_SECONDS)
        ends = datetime.fromtimestamp((window + 1) * WINDOW_SECONDS, UTC) + timedelta(seconds=60)
        counted = self._collection.find_one_and_update(
            {"_id": f"{visitor}:{window}"},
            {"$inc": {"count": 1}, "$setOnInsert": {"ends": ends}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return counted is not None and int(counted["count"]) <= MOST

    def forget(self, visitor: str) -> None:
        """As the protocol says; PyMongoError when the database is away."""
        self._collection.delete_one({"_id": f"{visitor}:{int(time.time() // WINDOW_SECONDS)}"})

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
