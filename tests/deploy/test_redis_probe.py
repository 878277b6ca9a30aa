"""redis_probe.py, which runs in a pod, against a real Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers.redis_server import RedisServer

PROBE = Path(__file__).resolve().parents[2] / "k8s/redis_probe.py"


def probe(url: str) -> tuple[int, str]:
    """Run it, and return its exit code and its output."""
    environment = {**os.environ, "REDIS_URL": url}
    command = [sys.executable, str(PROBE)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_redis_that_responds_is_accepted(redis_url: str) -> None:
    url = redis_url.removesuffix("/0") + "/5"
    assert probe(url) == (0, f"Redis responds at {url.removeprefix('redis://').removesuffix('/5')}, database 5\n")


@pytest.mark.parametrize(
    ("user", "database", "message"),
    [
        ("", 99, "refused database 99"),
        ("someone:hunter2@", 0, "rejected the user name or password"),
    ],
)
def test_wrong_database_or_password_is_reported(
    user: str, database: int, message: str, redis_server: RedisServer
) -> None:
    redis_server.revive()
    code, output = probe(f"redis://{user}127.0.0.1:{redis_server.port}/{database}")
    assert (code, message in output, "Traceback" in output) == (1, True, False), output
    assert "hunter2" not in output


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://redis.invalid:6379/5", "redis.invalid does not resolve in a pod"),
        ("redis://127.0.0.1:1/5", "no response from Redis at 127.0.0.1:1"),
    ],
)
def test_redis_that_cannot_be_reached_is_reported(url: str, message: str) -> None:
    code, output = probe(url)
    assert (code, message in output, "Traceback" in output) == (1, True, False), output
