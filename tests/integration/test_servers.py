"""The test servers do what other tests rely on."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError, PyMongoError

from servers import mongodb_server as mongodb_module
from servers import server as server_module
from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer
from servers.server import Server, ServerError

SUPPORT = Path(__file__).parents[1] / "support"
WAIT_SECONDS = 10.0


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_mongodb(tmp_path: Path) -> Iterator[MongodbServer]:
    server = MongodbServer(tmp_path / "mongodb")
    server.start()
    yield server
    server.stop()


def redis_client(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=0.3, decode_responses=True, retry=None)


def mongodb_client(server: MongodbServer) -> MongoClient[dict[str, Any]]:
    return MongoClient(server.url, serverSelectionTimeoutMS=300, socketTimeoutMS=300)


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def written_to_disk(client: redis.Redis) -> bool:
    state: Any = client.info("persistence")
    return bool(state["aof_buffer_length"] == 0 and state["aof_pending_bio_fsync"] == 0)


def alive(pids: list[int]) -> list[int]:
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [process.pid for process in processes if server_module.is_alive(process)]


def test_redis_keeps_its_data_when_it_is_killed(own_redis: RedisServer) -> None:
    url = own_redis.url
    with redis_client(own_redis) as client:
        client.set("word", "kept")
        wait_until(lambda: written_to_disk(client))
        own_redis.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("word")
        own_redis.start()
        assert client.get("word") == "kept"
    assert own_redis.url == url


def test_redis_starts_empty_without_keep_data(own_redis: RedisServer) -> None:
    with redis_client(own_redis) as client:
        client.set("word", "forgotten")
        own_redis.stop()
        own_redis.start(keep_data=False)
        assert client.get("word") is None


def test_paused_redis_hangs_until_it_is_resumed(own_redis: RedisServer) -> None:
    with redis_client(own_redis) as client:
        client.set("word", "kept")
        own_redis.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("word")
        own_redis.resume()
        assert client.get("word") == "kept"


def test_mongodb_keeps_its_data_when_it_is_killed(own_mongodb: MongodbServer) -> None:
    url = own_mongodb.url
    with mongodb_client(own_mongodb) as client:
        items = client.jobs.items
        items.create_index("word", unique=True)
        items.insert_one({"word": "kept"})
        own_mongodb.kill()
        with pytest.raises(PyMongoError):
            items.find_one()
        own_mongodb.start()
        assert [item["word"] for item in items.find()] == ["kept"]
        with pytest.raises(DuplicateKeyError):
            items.insert_one({"word": "kept"})
    assert own_mongodb.url == url


def test_paused_mongodb_hangs_until_it_is_resumed_and_starts_empty_without_keep_data(
    own_mongodb: MongodbServer,
) -> None:
    with mongodb_client(own_mongodb) as client:
        client.jobs.items.insert_one({"word": "kept"})
        own_mongodb.pause()
        with pytest.raises(PyMongoError):
            client.jobs.items.find_one()
        own_mongodb.resume()
        assert client.jobs.items.count_documents({}) == 1
        own_mongodb.stop()
        own_mongodb.start(keep_data=False)
        assert client.jobs.items.count_documents({}) == 0


@pytest.mark.parametrize("kind", [RedisServer, MongodbServer])
@pytest.mark.parametrize("end", [Server.stop, Server.kill])
@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_stopped_or_killed_server_leaves_no_process(
    tmp_path: Path, kind: type[Server], end: Callable[[Server], None], paused: bool
) -> None:
    server = kind(tmp_path)
    server.start()
    pids = server.pids
    assert pids
    if paused:
        server.pause()
    end(server)
    assert not server.running
    assert not alive(pids)


def test_servers_listen_only_on_loopback(own_redis: RedisServer, own_mongodb: MongodbServer) -> None:
    for server in (own_redis, own_mongodb):
        connections = [each for pid in server.pids for each in psutil.Process(pid).net_connections("inet")]
        listeners = {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}
        assert listeners == {("127.0.0.1", server.port)}


def test_servers_are_killed_with_the_tests(tmp_path: Path) -> None:
    program = f"""
import pathlib, signal
from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer
directory = pathlib.Path({str(tmp_path)!r})
servers = [RedisServer(directory / "redis"), MongodbServer(directory / "mongodb")]
for server in servers:
    server.start()
print(*(pid for server in servers for pid in server.pids), flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=SUPPORT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        pids = [int(word) for word in tests.stdout.readline().split()]
        assert alive(pids) == pids
        tests.send_signal(signal.SIGKILL)
    assert len(pids) > 3
    wait_until(lambda: not alive(pids))


def test_server_that_does_not_start_reports_why(own_redis: RedisServer, tmp_path: Path) -> None:
    rival = RedisServer(tmp_path / "rival")
    rival.port = own_redis.port
    rival.directory.mkdir()
    rival.data.write_text("not a folder")
    with pytest.raises(ServerError, match=r"(?s)redis exited.*Not a directory"):
        rival.start()
    assert not rival.pids


def test_starting_a_server_that_does_not_answer_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "START_SECONDS", 0.2)
    monkeypatch.setattr(RedisServer, "_answers", lambda _: False)
    server = RedisServer(tmp_path)
    with pytest.raises(ServerError, match=r"(?s)did not answer.*Ready to accept connections"):
        server.start()
    assert not server.pids


def test_missing_server_is_reported_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ServerError, match="run `make servers`, or set MONGODB_TEST_URI"):
        MongodbServer(tmp_path / "mongodb").start()
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ServerError, match="run `make servers`"):
        RedisServer(tmp_path / "redis").start()
    assert mongodb_module.INSTALL.exists()


def test_redis_url_is_an_empty_working_redis(redis_server: RedisServer, request: pytest.FixtureRequest) -> None:
    with redis_client(redis_server) as client:
        client.set("word", "from an earlier test")
        redis_server.kill()
        url = request.getfixturevalue("redis_url")
        assert url == redis_server.url
        assert client.dbsize() == 0


def test_mongodb_uri_has_no_database_of_an_earlier_test(
    mongodb_server: MongodbServer, request: pytest.FixtureRequest
) -> None:
    with mongodb_client(mongodb_server) as client:
        client.jobs.items.insert_one({"word": "from an earlier test"})
        mongodb_server.pause()
        uri = request.getfixturevalue("mongodb_uri")
        assert uri == mongodb_server.url
        assert "jobs" not in client.list_database_names()
