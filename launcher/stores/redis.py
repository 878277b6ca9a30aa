"""Redis: the tail of each log (a stream whose entry ids are line numbers) and the state of each run (a hash).

Keys, each with a prefix: `log:<run_id>` (stream; fields t, k, d), `run:<run_id>` (hash; fields revision, status,
document), `runs` (sorted set of run ids by creation). No line can be added twice, because entry ids are line numbers
and Redis rejects an id that is not higher than the last one (https://redis.io/docs/latest/commands/xadd/).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from launcher.domain.days import StatusCounts, count_between
from launcher.domain.errors import StoreUnavailable
from launcher.domain.log_lines import LineKind, LogLine
from launcher.domain.runs import TERMINAL, Run
from launcher.stores.ports import RunQuery

log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 5.0
_READ_COUNT = 1000
_PUT = """
local stored = redis.call('HMGET', KEYS[1], 'revision', 'terminal')
if stored[1] and (stored[2] == '1' or tonumber(stored[1]) >= tonumber(ARGV[1])) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'terminal', ARGV[2], 'document', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[5])
if ARGV[2] == '1' then redis.call('EXPIRE', KEYS[1], ARGV[6]) end
return 1
"""


def connect(url: str) -> Redis:
    """Return a client that connects on first use. Each reader that waits holds a connection."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=256,
        timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        socket_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),  # callers retry, and readers use the archive until then
    )
    return Redis.from_pool(pool)  # the client closes the pool


def fault_of(name: str, url: str) -> str | None:
    """Return why redis-py rejects a valid URL; None if it does not. Does not connect, and quotes nothing of the URL."""
    try:
        BlockingConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except (RedisError, ValueError, TypeError, OSError):
        return f"{name}: the Redis client rejects an option after the '?'. Correct it."
    return None


class RedisRunStore:
    """A `RunStore` in Redis. Finished runs are deleted after `ttl_seconds`."""

    def __init__(self, client: Redis, *, ttl_seconds: int, prefix: str = "slipway:") -> None:
        self._redis, self._ttl, self._prefix = client, ttl_seconds, prefix
        self._put = client.register_script(_PUT)

    async def put(self, run: Run) -> bool:
        """See `RunStore`."""
        terminal = "1" if run.status in TERMINAL else "0"
        async with _unavailable():
            written = await self._put(
                keys=[f"{self._prefix}run:{run.run_id}", f"{self._prefix}runs"],
                args=[run.revision, terminal, run.to_json(), run.created_at.timestamp(), run.run_id, self._ttl],
            )
        return bool(written)

    async def get(self, run_id: str) -> Run | None:
        """See `RunStore`."""
        async with _unavailable():
            document = await self._redis.hget(f"{self._prefix}run:{run_id}", "document")
        return _run_of(run_id, document) if document else None

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """See `RunStore`."""
        async with _unavailable():
            names: Any = await self._redis.zrange(f"{self._prefix}runs", 0, -1, desc=True)
            documents = await self._documents(names)
            if expired := [name for name, document in zip(names, documents, strict=True) if not document]:
                await self._redis.zrem(f"{self._prefix}runs", *expired)
        return query.page_of(_readable(names, documents))

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """See `RunStore`. Counts only runs whose TTL has not expired."""
        async with _unavailable():
            names: Any = await self._redis.zrangebyscore(
                f"{self._prefix}runs", edges[0].timestamp(), f"({edges[-1].timestamp()}"
            )
            documents = await self._documents(names)
        return count_between(edges, _readable(names, documents))

    async def revisions(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """See `RunStore`."""
        async with _unavailable(), self._redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hget(f"{self._prefix}run:{run_id}", "revision")
            found = await pipe.execute()
        return {run_id: int(value) for run_id, value in zip(run_ids, found, strict=True) if value is not None}

    async def delete_finished_before(self, moment: datetime) -> int:
        """See `RunStore`."""
        runs, _ = await self.find(RunQuery(per_page=1_000_000))
        old = [run.run_id for run in runs if run.completed_at and run.completed_at < moment]
        if old:
            async with _unavailable():
                await self._redis.delete(*(f"{self._prefix}run:{run_id}" for run_id in old))
                await self._redis.zrem(f"{self._prefix}runs", *old)
        return len(old)

    async def ping(self) -> None:
        """See `RunStore`."""
        async with _unavailable():
            await self._redis.ping()

    async def _documents(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Return the document of each run; None if it was deleted."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(f"{self._prefix}run:{name.decode()}", "document")
            documents: list[bytes | None] = await pipe.execute()
        return documents


class RedisLogTail:
    """A `LogTail` in Redis Streams: about `limit` lines per log, deleted `ttl_seconds` after the last line."""

    def __init__(self, client: Redis, *, limit: int, ttl_seconds: int, prefix: str = "slipway:log:") -> None:
        self._redis, self._limit, self._ttl, self._prefix = client, limit, ttl_seconds, prefix

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, replace: bool = False) -> None:
        """See `LogTail`."""
        async with _unavailable():
            async with self._redis.pipeline(transaction=False) as pipe:
                if replace:  # the stream keeps its last id, so it still rejects lower ones
                    pipe.xtrim(self._prefix + run_id, maxlen=0, approximate=False)
                for line in lines:
                    fields: dict[Any, Any] = {"t": line.timestamp, "k": str(line.kind), "d": line.data}
                    pipe.xadd(self._prefix + run_id, fields, id=f"{line.number}-0", maxlen=self._limit)
                pipe.expire(self._prefix + run_id, self._ttl)  # even if no process marks the log as finished
                answers = await pipe.execute(raise_on_error=False)
            for answer in answers:
                duplicate = isinstance(answer, ResponseError) and "equal or smaller" in str(answer)
                if isinstance(answer, Exception) and not duplicate:
                    raise answer

    async def last_number(self, run_id: str) -> int:
        """See `LogTail`."""
        async with _unavailable():
            newest: Any = await self._redis.xrevrange(self._prefix + run_id, count=1)
        return _number(newest[0][0]) if newest else 0

    async def read(self, run_id: str, after: int, *, wait_seconds: float) -> list[LogLine]:
        """See `LogTail`."""
        block = max(1, int(wait_seconds * 1000)) if wait_seconds > 0 else None
        async with _unavailable():
            answer: Any = await self._redis.xread({self._prefix + run_id: f"{after}-0"}, count=_READ_COUNT, block=block)
        entries: list[tuple[bytes, dict[bytes, bytes]]] = []
        match answer:  # RESP3 returns a dictionary, RESP2 a list
            case dict():
                entries = next(iter(answer.values()), [[]])[0]
            case [[_, found]]:
                entries = found
        return [
            LogLine(_number(name), fields[b"t"].decode(), LineKind(fields[b"k"].decode()), fields[b"d"])
            for name, fields in entries
        ]

    async def finish(self, run_id: str) -> None:
        """See `LogTail`. The TTL has been running since the last line."""


def _readable(names: Sequence[bytes], documents: Sequence[bytes | None]) -> list[Run]:
    read = [_run_of(name.decode(), document) for name, document in zip(names, documents, strict=True) if document]
    return [run for run in read if run is not None]


def _run_of(run_id: str, document: bytes | str) -> Run | None:
    try:
        return Run.from_json(document)
    except ValueError as exc:  # written by a newer version or by hand: it counts as missing
        log.error("run %s: cannot read its record in Redis: %s", run_id, exc)
        return None


def _number(entry_id: bytes) -> int:
    return int(entry_id.split(b"-", 1)[0])


@asynccontextmanager
async def _unavailable() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as exc:
        raise StoreUnavailable(f"Redis does not answer: {type(exc).__name__}: {exc}"[:300]) from exc
