"""The servers as pytest fixtures: `redis_url` and `mongodb_uri` for tests that only need an empty database.

Without a server, tests fail rather than skip, so that a green run has always used real servers.
"""

import os
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
import redis
from pymongo import MongoClient

from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer
from servers.server import Server, ServerError

__all__ = ["mongodb_server", "mongodb_uri", "redis_server", "redis_url"]

TEST_DATABASE = "jobs"

AnyServer = TypeVar("AnyServer", bound=Server)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis, for tests that stop, kill or pause it; others use `redis_url`."""
    yield from _started(RedisServer(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodbServer]:
    """MongoDB, for tests that stop, kill or pause it; others use `mongodb_uri`."""
    if os.environ.get("MONGODB_TEST_URI"):
        pytest.skip("MONGODB_TEST_URI names an external server, which the tests do not stop.")
    yield from _started(MongodbServer(tmp_path_factory.mktemp("mongodb")))


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Return the URL of an empty, working Redis, whatever the previous test did to it."""
    redis_server.revive()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def mongodb_uri(request: pytest.FixtureRequest) -> str:
    """Return the URI of a MongoDB without a database `jobs`: MONGODB_TEST_URI, or a server of our own."""
    uri = os.environ.get("MONGODB_TEST_URI")
    if not uri:
        server: MongodbServer = request.getfixturevalue("mongodb_server")
        server.revive()
        uri = server.url
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri, serverSelectionTimeoutMS=10_000) as client:
        client.drop_database(TEST_DATABASE)
    return uri


def _started(server: AnyServer) -> Iterator[AnyServer]:
    try:
        server.start()
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)
    yield server
    server.stop()
