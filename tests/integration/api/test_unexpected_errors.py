"""Unexpected errors: a problem without details, a traceback in the log, and a service that continues."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from launcher.api import health, streams
from launcher.domain.errors import StoreUnavailable
from launcher.domain.health_problems import ENGINE_FAILED
from launching.in_process import SECRET, application, served

BEARER = {"Authorization": f"Bearer {SECRET}"}
PROBLEM = "application/problem+json"
ORIGIN = "https://app.example.com"
KINDS: dict[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("the secret is 42"),
    "recursion": lambda: RecursionError("the secret is 42"),
    "unicode": lambda: UnicodeEncodeError("utf-8", "the secret is 42\ud800", 0, 1, "surrogates"),
    "key": lambda: KeyError("the secret is 42"),
    "time": lambda: TimeoutError("the secret is 42"),
    "connection": lambda: ConnectionResetError("the secret is 42"),
    "many": lambda: ExceptionGroup("the secret is 42", [ValueError()]),
    "memory": lambda: MemoryError("the secret is 42"),
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Any, httpx.Client]]:
    app = application(tmp_path, CORS_ORIGINS=ORIGIN)

    @app.get("/raises/{kind}")
    async def raises(kind: str) -> None:
        raise KINDS[kind]()

    @app.get("/unwritable")
    async def unwritable() -> dict[str, Any]:
        return {"half a character": "\ud800"}

    with (
        served(app) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", headers=BEARER, trust_env=False, timeout=20) as client,
    ):
        yield app.state.services, client


@pytest.mark.parametrize("path", [*(f"/raises/{kind}" for kind in KINDS), "/unwritable"])
def test_unexpected_error_is_a_problem_and_its_traceback_is_logged(
    service: tuple[Any, httpx.Client], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    _, client = service
    with caplog.at_level(logging.ERROR):
        answer = client.get(f"{path}?ticket=private", headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "42" not in answer.text
    assert set(answer.json()) == {"type", "title", "status", "detail"}
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [f"GET {path}"]
    route = "/raises/{kind}" if path.startswith("/raises") else path
    assert f'route="{route}",status="500"' in client.get("/metrics").text
    assert client.head(path).status_code == 500
    assert client.get("/health").status_code == 200


def test_disk_error_is_reported_without_a_path(
    service: tuple[Any, httpx.Client], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    services, client = service

    async def full(run: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(services.engine, "submit", full)
    answer = client.post("/jobs/run", json={"job_id": "1"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert "No space left" in answer.json()["detail"]
    assert str(tmp_path) not in answer.text


def test_hanging_disk_delays_only_logs_and_not_shutdown(
    service: tuple[Any, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, client = service
    monkeypatch.setattr(streams, "_BLOCK_SECONDS", 0.1)
    monkeypatch.setattr(health, "_DISK_SECONDS", 0.1)
    monkeypatch.setattr(health, "_FRESH_SECONDS", 0.0)
    run_id = client.post("/jobs/run", json={"job_id": "4711"}).json()["run_id"]
    hang = threading.Event()

    def text(run_id: str) -> Iterator[bytes]:
        hang.wait(60)
        yield b"at last"

    monkeypatch.setattr(services.archive, "text", text)
    monkeypatch.setattr(services.health, "_archive_state", lambda path: hang.wait(60))
    try:
        for _ in range(20):  # more than there are threads
            answer = client.get(f"/jobs/{run_id}/log")
            assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
        assert client.get("/livez").json() == {"status": "ok"}
        document: dict[str, Any] = {}
        while document.get("archive") != "unreadable":
            document = client.get("/health").json()
            assert client.get("/health").elapsed.total_seconds() < 0.5  # ten times its limit, for a busy machine
        assert document["status"] == "degraded"
        assert services.stream_limit.open == 0
    finally:
        hang.set()


def test_process_that_cannot_answer_is_not_live_and_says_why(
    service: tuple[Any, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, client = service

    def broken() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(services.engine, "cached_queue", broken)
    answer = client.get("/livez")
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert answer.json()["detail"] == ENGINE_FAILED
