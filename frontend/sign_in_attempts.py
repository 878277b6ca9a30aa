"""Rate limits for sign-in attempts, per visitor and in total; in MongoDB they apply to all instances together."""

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
"""The smallest network that a provider assigns to a customer, who can use any of its 2^64 addresses."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Limit:
    """At most `most` attempts in each window of `seconds` seconds."""

    most: int
    seconds: int

    def window(self, now: float) -> int:
        """Return the number of the window that contains a time, in seconds."""
        return int(now // self.seconds)


OF_VISITOR = Limit(10, 900)
OF_ALL = Limit(100, 3600)
"""For all browsers together that have not signed in before: too few for a botnet to guess a password."""


class Attempts(Protocol):
    """The number of attempts in the current window, per visitor."""

    def count(self, who: str, limit: Limit) -> bool:
        """Count one attempt; return whether it is within the limit."""

    def spent(self, who: str, limit: Limit) -> bool:
        """Return whether the limit is used up, without counting an attempt."""

    def forget(self, who: str, limit: Limit) -> None:
        """Reset the count."""


def exceeded(attempts: Attempts, visitor: str, *, known: bool) -> Limit | None:
    """Count an attempt; return the limit that it exceeds, or None. `known`: its browser has signed in before.

    Known browsers do not count towards the total. A visitor who is over the limit does not either, and while the total
    is used up, no more visitors are stored.
    """
    if attempts.spent(visitor, OF_VISITOR):
        return OF_VISITOR
    if not known and not attempts.count(ALL, OF_ALL):
        return OF_ALL
    return None if attempts.count(visitor, OF_VISITOR) else OF_VISITOR


def visitor_of(address: str) -> str:
    """Return the visitor behind an IP address: the IPv4 address, also if mapped into IPv6, or the IPv6 network."""
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
    """Attempts of a single process, as in development."""

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
    """Attempts of all instances of the function, in `jobs.sign_in_attempts`; a TTL index deletes past windows."""

    def __init__(self, uri: str, clock: Clock = time.time) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            connect=False,  # connect at the first query: the front end starts even if DNS is down
            serverSelectionTimeoutMS=5000,
            tz_aware=True,
        )
        self._collection, self._clock = self._client["jobs"]["sign_in_attempts"], clock

    def count(self, who: str, limit: Limit) -> bool:
        """See `Attempts`; PyMongoError when the database is unavailable."""
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
        """See `Attempts`; PyMongoError when the database is unavailable."""
        found = self._collection.find_one({"_id": self._key(who, limit)})
        return found is not None and int(found["count"]) >= limit.most

    def forget(self, who: str, limit: Limit) -> None:
        """See `Attempts`; PyMongoError when the database is unavailable."""
        self._collection.delete_one({"_id": self._key(who, limit)})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key(self, who: str, limit: Limit) -> str:
        return f"{who}:{limit.seconds}:{limit.window(self._clock())}"
