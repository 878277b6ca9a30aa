"""Redis and MongoDB down at start or during a run, hanging, or without data: runs continue, the history is complete."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from pymongo import MongoClient

from launching.launcher import Launcher
from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer

PIPELINES: dict[str, dict[str, Any]] = {
    "count": {"command": ["python", "-c", "for n in range(2000): print('line', n)"]},
    "gated": {
        "command": [
            "python",
            "-c",
            "import os, time\nfor n in range(1000): print('line', n, flush=True)\n"
            "while not os.path.exists(os.environ['GATE'] + '/{job_id}'): time.sleep(0.02)\n"
            "for n in range(1000, 2000): print('line', n, flush=True)",
        ]
    },
}
LINES = ["line " + str(n) for n in range(2000)]


def until(condition: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.05)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    folder = tmp_path / "gate"
    folder.mkdir()
    return folder


def lines_of(events: list[tuple[str, str, str]]) -> list[str]:
    return [data for _, name, data in events if name == "message"][1:]


def documents(uri: str, job_id: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](uri) as client:
        item = client["jobs"]["level-2"].find_one({"jobId": job_id})
        return item, list(client["jobs"]["pipeline_runs"].find({"job_id": str(job_id)}))


def test_redis_and_mongodb_receive_what_the_archive_has(
    tmp_path: Path, redis_url: str, mongodb_uri: str, gate: Path
) -> None:
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client["jobs"]["level-2"].insert_one({"jobId": 4711})
    with Launcher(tmp_path, PIPELINES, REDIS_URL=redis_url, MONGODB_URI=mongodb_uri, GATE=str(gate)) as launcher:
        until(lambda: launcher.client.get("/health").json()["mongodb"] == "ok")
        assert (
            launcher.client.get("/health").json() | {"redis": "ok", "status": "healthy"}
            == launcher.client.get("/health").json()
        )
        run = launcher.run("4711", pipeline="count")
        assert lines_of(launcher.events(run["run_id"])) == LINES
        end = launcher.wait(run["run_id"])
        until(lambda: (documents(mongodb_uri, 4711)[0] or {}).get("pipeline_status") == "completed")
        item, (document,) = documents(mongodb_uri, 4711)
        assert item is not None
        assert item["pipeline_run_id"] == run["run_id"] == document["_id"]
        assert (document["status"], document["log"]["lines"]) == ("completed", end["log"]["lines"])
        with redis.Redis.from_url(redis_url) as client_:
            assert client_.xlen(f"slipway:log:{run['run_id']}") <= 700
            assert client_.ttl(f"slipway:log:{run['run_id']}") > 0


def test_runs_continue_while_both_are_down_and_history_is_complete_afterwards(
    tmp_path: Path, redis_server: RedisServer, mongodb_server: MongodbServer, mongodb_uri: str, gate: Path
) -> None:
    redis_server.revive()
    redis_server.stop()
    mongodb_server.stop()
    try:
        with Launcher(
            tmp_path, PIPELINES, REDIS_URL=redis_server.url, MONGODB_URI=mongodb_uri, GATE=str(gate)
        ) as launcher:
            until(lambda: launcher.client.get("/health").json()["status"] == "degraded")
            run_id = launcher.run("5001", pipeline="count")["run_id"]
            assert lines_of(launcher.events(run_id)) == LINES
            assert launcher.wait(run_id)["status"] == "completed"

            redis_server.start()
            mongodb_server.start()
            with MongoClient[dict[str, Any]](mongodb_uri) as client:
                client["jobs"]["level-2"].insert_one({"jobId": 5001})
            until(lambda: launcher.client.get("/health").json()["status"] == "healthy")
            until(lambda: launcher.client.get("/health").json()["records_owed"] == 0)
            assert [document["status"] for document in documents(mongodb_uri, 5001)[1]] == ["completed"]

            run_id = launcher.run("5002", pipeline="gated")["run_id"]
            until(lambda: len(launcher.log(run_id).splitlines()) == 1001)
            redis_server.kill()  # during a run; it restarts without its data
            redis_server.start(keep_data=False)
            (gate / "5002").touch()
            assert lines_of(launcher.events(run_id)) == LINES
            assert launcher.wait(run_id)["log"]["complete"]
    finally:
        redis_server.revive()
        mongodb_server.revive()


@pytest.mark.parametrize(("own", "before", "state"), [("a-password", "", "ok"), ("", "a-password", "away")])
def test_password_that_launcher_or_redis_gets_first_interrupts_nothing(
    own: str, before: str, state: str, tmp_path: Path, redis_url: str
) -> None:
    """As in an upgrade to a release in which Redis has a password, and in its rollback."""
    url = redis_url.replace("//", f"//:{own}@") if own else redis_url
    with redis.Redis.from_url(redis_url, single_connection_client=True) as administrator:
        administrator.config_set("requirepass", before)
        try:
            with Launcher(tmp_path, PIPELINES, REDIS_URL=url) as launcher:
                until(lambda: launcher.client.get("/health").json()["redis"] == state)
                run_id = launcher.run("1", pipeline="count")["run_id"]
                assert lines_of(launcher.events(run_id)) == LINES
                administrator.config_set("requirepass", own)
                until(lambda: launcher.client.get("/health").json()["status"] == "healthy", 10)
                until(lambda: administrator.hget(f"slipway:run:{run_id}", "terminal") == b"1", 10)
        finally:
            administrator.config_set("requirepass", "")


def test_a_hanging_redis_delays_no_request(tmp_path: Path, redis_server: RedisServer, gate: Path) -> None:
    redis_server.revive()
    with Launcher(tmp_path, PIPELINES, REDIS_URL=redis_server.url, GATE=str(gate)) as launcher:
        until(lambda: launcher.client.get("/health").json()["redis"] == "ok")
        redis_server.pause()
        try:
            run_id = launcher.run("1", pipeline="count")["run_id"]
            assert launcher.wait(run_id)["status"] == "completed"
            assert lines_of(launcher.events(run_id)) == LINES
            until(lambda: launcher.client.get("/health").json()["redis"] == "away")
        finally:
            redis_server.resume()
        until(lambda: launcher.client.get("/health").json()["redis"] == "ok")


def test_queued_runs_are_restored_from_redis_without_the_archive(tmp_path: Path, redis_url: str, gate: Path) -> None:
    with Launcher(tmp_path / "first", PIPELINES, REDIS_URL=redis_url) as launcher:
        launcher.client.post("/queue/pause")
        run_id = launcher.run("1", pipeline="count")["run_id"]
        until(lambda: launcher.client.get("/health").json()["records_owed"] == 0)
        launcher.kill()
    with Launcher(tmp_path / "second", PIPELINES, REDIS_URL=redis_url) as launcher:
        assert launcher.wait(run_id)["status"] == "completed"
