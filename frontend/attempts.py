"""Attempts to sign in, limited for each visitor and for all together; in MongoDB all instances count as one."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pymongo import MongoClient, ReturnDocument

ALL = "all"
_IPV6_NETWORK_BITS = 64
"""What one customer has at least, with 2^64 addresses to come from."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Limit:
    """At most so many attempts in each window of so many seconds."""

    most: int
    seconds: int

    def window(self, now: float) -> int:
        """Return the number of the window that a time, in seconds, is in."""
        return int(now // self.seconds)


OF_VISITOR = Limit(10, 900)
OF_ALL = Limit(100, 3600)
"""For all browsers that have not signed in before: few enough for a botnet to get nowhere."""


class Attempts(Protocol):
    """How often who has tried in the current window."""

    def count(self, who: str, limit: Limit) -> bool:
        """Count one attempt; return whether it is within the limit."""

    def spent(self, who: str, limit: Limit) -> bool:
        """Return whether no attempt is left; counts none."""

    def forget(self, who: str, limit: Limit) -> None:
        """Count from zero again."""


def exceeded(attempts: Attempts, visitor: str, *, known: bool) -> Limit | None:
    """Count an attempt of a visitor, and of all unless its browser has signed in before; return the limit in its way.

    A visitor without attempts left takes none from all, and where all have none left, no more visitors are noted.
    """
    if attempts.spent(visitor, OF_VISITOR):
        return OF_VISITOR
    if not known and not attempts.count(ALL, OF_ALL):
        return OF_ALL
    return None if attempts.count(visitor, OF_VISITOR) else OF_VISITOR


def visitor_of(address: str) -> str:
    """Return who calls from an address: an IPv4 address itself, also one mapped into IPv6, else the IPv6 network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), _IPV6_NETWORK_BITS), strict=False))


class AttemptsInMemory:
    """For one process, as in development."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._lock, self._clock = threading.Lock(), clock
        self._counts: dict[Limit, tuple[int, Counter[str]]] = {}

    def count(self, who: str, limit: Limit) -> bool:
        """See `Attempts`."""
        with self._lock:
            counts = self._current(limit)
            counts[who] += 1
            return counts[who] <= limit.most

    def spent(self, who: str, limit: Limit) -> bool:
        """See `Attempts`."""
        with self._lock:
            return self._current(limit)[who] >= limit.most

    def forget(self, who: str, limit: Limit) -> None:
        """See `Attempts`."""
        with self._lock:
            del self._current(limit)[who]

    def _current(self, limit: Limit) -> Counter[str]:
        window = limit.window(self._clock())
        if limit not in self._counts or self._counts[limit][0] != window:
            self._counts[limit] = (window, Counter())
        return self._counts[limit][1]


class AttemptsInMongoDB:
    """For all instances of the function, in `jobs.sign_in_attempts`; a TTL index clears windows that are over."""

    def __init__(self, uri: str, clock: Clock = time.time) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            connect=False,  # at the first question: a name server that is down keeps no page from being served
            serverSelectionTimeoutMS=5000,
            tz_aware=True,
        )
        self._collection, self._clock = self._client["jobs"]["sign_in_attempts"], clock

    def count(self, who: str, limit: Limit) -> bool:
        """See `Attempts`; PyMongoError when the database is away."""
        self._collection.create_index("ends", expireAfterSeconds=0)
        ends = datetime.fromtimestamp((limit.window(self._clock()) + 1) * limit.seconds, UTC) + timedelta(seconds=60)
        counted = self._collection.find_one_and_update(
            {"_id": self._key(who, limit)},
            {"$inc": {"count": 1}, "$setOnInsert": {"ends": ends}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return counted is not None and int(counted["count"]) <= limit.most

    def spent(self, who: str, limit: Limit) -> bool:
        """See `Attempts`; PyMongoError when the database is away."""
        found = self._collection.find_one({"_id": self._key(who, limit)})
        return found is not None and int(found["count"]) >= limit.most

    def forget(self, who: str, limit: Limit) -> None:
        """See `Attempts`; PyMongoError when the database is away."""
        self._collection.delete_one({"_id": self._key(who, limit)})

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _key(self, who: str, limit: Limit) -> str:
        return f"{who}:{limit.seconds}:{limit.window(self._clock())}"
