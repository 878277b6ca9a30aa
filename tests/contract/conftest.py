"""Each store and its in-memory double: every test in this folder runs against both."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from launcher.stores import mongodb, redis
from launcher.stores.memory import InMemoryLogTail, InMemoryRunStore, InMemoryWorkItems
from launcher.stores.ports import LogTail, RunStore, WorkItems

TAIL_LINES = 50
Opened = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["memory", "redis", "mongodb"])
def run_store(request: pytest.FixtureRequest) -> Opened:
    """A function that opens an empty `RunStore`."""
    match request.param:
        case "redis":
            url = request.getfixturevalue("redis_url")

            @asynccontextmanager
            async def opened() -> AsyncIterator[RunStore]:
                async with redis.connect(url) as client:
                    yield redis.RedisRunStore(client, ttl_seconds=3600)

        case "mongodb":
            uri = request.getfixturevalue("mongodb_uri")

            @asynccontextmanager
            async def opened() -> AsyncIterator[RunStore]:
                async with mongodb.connect(uri) as client:
                    yield mongodb.MongoRunStore(client)

        case _:

            @asynccontextmanager
            async def opened() -> AsyncIterator[RunStore]:
                yield InMemoryRunStore()

    return opened


@pytest.fixture(params=["memory", "redis"])
def log_tail(request: pytest.FixtureRequest) -> Opened:
    """A function that opens an empty `LogTail`."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")

        @asynccontextmanager
        async def opened() -> AsyncIterator[LogTail]:
            async with redis.connect(url) as client:
                prefix = f"{secrets.token_hex(4)}:"
                yield redis.RedisLogTail(client, limit=TAIL_LINES, ttl_seconds=3600, prefix=prefix)

    else:

        @asynccontextmanager
        async def opened() -> AsyncIterator[LogTail]:
            yield InMemoryLogTail(TAIL_LINES)

    return opened


class Items:
    """Work items to mark, and a function that reads one."""

    def __init__(self, marks: WorkItems, read: Callable[[Any], Awaitable[dict[str, Any]]]) -> None:
        self.marks, self.read = marks, read


@pytest.fixture(params=["memory", "mongodb"])
def work_items(request: pytest.FixtureRequest) -> Opened:
    """A function that opens `WorkItems` with one item `jobId: 4711` and one `jobId: "abc"`."""
    if request.param == "mongodb":
        uri = request.getfixturevalue("mongodb_uri")

        @asynccontextmanager
        async def opened() -> AsyncIterator[Items]:
            async with mongodb.connect(uri) as client:
                collection = client["jobs"]["level-2"]
                await collection.insert_many(
                    [{"jobId": 4711, "title": "unchanged"}, {"jobId": "abc", "title": "unchanged"}]
                )

                async def read(job_id: Any) -> dict[str, Any]:
                    found = await collection.find_one({"jobId": job_id}, {"_id": 0, "jobId": 0})
                    assert found is not None
                    return found

                yield Items(mongodb.MongoWorkItems(client), read)

    else:

        @asynccontextmanager
        async def opened() -> AsyncIterator[Items]:
            items: dict[str, dict[str, Any]] = {"4711": {"title": "unchanged"}, "abc": {"title": "unchanged"}}

            async def read(job_id: Any) -> dict[str, Any]:
                return items[str(job_id)]

            yield Items(InMemoryWorkItems(items), read)

    return opened
