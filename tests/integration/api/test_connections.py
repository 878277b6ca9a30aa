"""Slow, stalled and disconnected clients: each connection is closed in time, and others are served."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI

from launcher import server
from launcher.api import middleware
from launcher.api.auth import Authenticator
from launcher.api.limits import STREAMS_PER_TICKET
from launcher.server import BoundedHttp
from launching.in_process import SECRET, application, served

from .conftest import until

BEARER = {"Authorization": f"Bearer {SECRET}"}
HALF_OPEN = 300
SWEPT_SECONDS = 4.0
"""Within which the server closes a connection that has timed out: it checks every 0.5 s. Allows for a busy machine."""
LOUD = "import time\nfor n in range(400): print('x' * 60000)\ntime.sleep(600)"
PIPELINES: dict[str, dict[str, Any]] = {
    "loud": {"command": ["python", "-c", LOUD], "artifacts": {}},
    "quiet": {"command": ["python", "-c", "import time; print('up', flush=True); time.sleep(600)"], "artifacts": {}},
}


class Quick(BoundedHttp):
    """The same limits, in fractions of a second."""

    head_seconds = 0.6
    body_seconds = 1.2
    stalled_seconds = 1.0


class Service:
    """The served application, with its address and a client."""

    def __init__(self, app: FastAPI, address: tuple[str, int]) -> None:
        self.app, self.address = app, address
        self.client = httpx.Client(
            base_url=f"http://{address[0]}:{address[1]}", headers=BEARER, trust_env=False, timeout=20
        )

    @property
    def services(self) -> Any:
        """The application's services."""
        return self.app.state.services

    def connect(self, sent: bytes = b"") -> socket.socket:
        """Connect and send raw bytes."""
        connection = socket.create_connection(self.address, timeout=10)
        connection.sendall(sent)
        return connection

    def run(self, pipeline: str) -> str:
        """Start a run and wait for its first lines."""
        run_id = self.client.post("/jobs/run", json={"job_id": "1", "pipeline": pipeline}).json()["run_id"]
        until(lambda: self.client.get(f"/jobs/{run_id}/log").content.count(b"\n") > 1)
        return str(run_id)

    def follow(self, run_id: str) -> socket.socket:
        """Start following a run without reading anything."""
        connection = self.connect(
            f"GET /jobs/{run_id}/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()
        )
        until(lambda: self.services.stream_limit.open > 0)
        return connection


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.5)
    (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump(PIPELINES))
    app = application(
        tmp_path, PIPELINES_FILE=str(tmp_path / "pipelines.yaml"), TERMINATION_GRACE_SECONDS="0", MAX_STREAMS="12"
    )
    with served(app, Quick) as address:
        service = Service(app, address)
        with contextlib.closing(service.client):
            yield service


def closed(connection: socket.socket, seconds: float = 10) -> bytes:
    """Return all bytes until the connection is closed."""
    connection.settimeout(seconds)
    answer = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(65536):
            answer += block
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x02",
        b"GET /health HTTP/1.1\r\nX: " + b"a" * 200_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["ssh", "tls", "huge header", "http/2"],
)
def test_what_is_no_request_is_answered_with_a_problem(service: Service, sent: bytes) -> None:
    with service.connect(sent) as connection:
        head, _, body = closed(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in head
    assert json.loads(body)["status"] == 400


def test_upgrade_that_is_not_supported_leaves_no_warning(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
    with service.connect(b"GET /health HTTP/1.1\r\nHost: x\r\n" + upgrade) as connection:
        assert closed(connection).startswith(b"HTTP/1.1 200 ")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def trickle(connection: socket.socket, byte: bytes, seconds: float = 30) -> float:
    """Send a byte now and then until the connection is closed; return how long that took."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - began < seconds:
            connection.sendall(byte)
            connection.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                while connection.recv(65536):
                    pass
                return time.monotonic() - began
    return time.monotonic() - began


def test_half_open_connections_delay_nobody_and_are_closed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quick, "head_seconds", 60)
    with contextlib.ExitStack() as stack:
        changed = stack.enter_context(selectors.DefaultSelector())
        halves = [
            stack.enter_context(service.connect(b"GET /health HTTP/1.1\r\nHost: x\r\nSlow: ")) for _ in range(HALF_OPEN)
        ]
        for half in halves:
            changed.register(half, selectors.EVENT_READ)
        assert service.client.get("/health").status_code == 200
        assert not changed.select(0), "the request was answered only after some connections were closed"
        monkeypatch.setattr(Quick, "head_seconds", 0)
        began = time.monotonic()
        assert [closed(half) for half in halves] == [b""] * HALF_OPEN
        assert time.monotonic() - began < SWEPT_SECONDS


def test_oldest_of_too_many_half_open_connections_are_closed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quick, "head_seconds", 60)
    monkeypatch.setattr(server, "MAX_WAITING", 5)
    with contextlib.ExitStack() as stack:
        halves = [stack.enter_context(service.connect(b"GET /hea")) for _ in range(5)]
        for _ in range(5):  # lets the server's clock advance
            assert service.client.get("/health", headers={"Connection": "close"}).status_code == 200
        halves += [stack.enter_context(service.connect(b"GET /hea")) for _ in range(5)]
        assert [closed(half) for half in halves[:5]] == [b""] * 5
        halves[-1].sendall(b"lth HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert closed(halves[-1]).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("before", "byte"),
    [
        (b"", b""),
        (b"GET /health HTTP/1.1\r\nSlow: ", b"x"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (b"POST /jobs/run HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (b"POST /jobs/run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["nothing", "a header", "empty lines", "a body to GET", "a body", "chunks"],
)
def test_request_sent_byte_by_byte_is_cut_off(service: Service, before: bytes, byte: bytes) -> None:
    with service.connect(before) as connection:
        assert trickle(connection, byte) < Quick.body_seconds + SWEPT_SECONDS


def test_missing_body_times_out_with_a_problem(service: Service) -> None:
    request = f"POST /jobs/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 9\r\n\r\n{{"
    with service.connect(request.encode()) as connection:
        head, body = closed(connection).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == 408


def test_body_is_not_read_without_a_valid_credential(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 60)
    monkeypatch.setattr(Quick, "body_seconds", 60)
    ticket = Authenticator([SECRET]).ticket("x", "someone")
    for credential, status in (("", 401), ("Bearer x", 401), (f"Bearer {ticket}", 403)):
        head = f"POST /jobs/run HTTP/1.1\r\nHost: x\r\nAuthorization: {credential}\r\nContent-Length: 1000000\r\n\r\n"
        with service.connect(head.encode()) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 %d " % status)


def test_stalled_viewer_is_disconnected_and_can_resume(service: Service) -> None:
    run_id = service.run("loud")
    with service.follow(run_id) as connection:
        until(lambda: service.services.stream_limit.open == 0, 10)
        assert b"Starting pipeline" in closed(connection)
    with service.client.stream("GET", f"/jobs/{run_id}/logs", headers={"Last-Event-ID": "5"}) as answer:
        assert "id: 6" in answer.iter_lines()


def test_buffer_of_a_stalled_viewer_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quick, "stalled_seconds", 60)
    sizes: list[int] = []
    write = BoundedHttp.timed_out

    def timed_out(self: BoundedHttp, now: float) -> bool:
        sizes.append(self.transport.get_write_buffer_size())
        return write(self, now)

    monkeypatch.setattr(Quick, "timed_out", timed_out)
    run_id = service.run("loud")
    until(lambda: service.client.get(f"/jobs/{run_id}/log").content.count(b"\n") > 400)
    with service.follow(run_id):
        until(lambda: len([size for size in sizes if size > 0]) > 3)
    assert max(sizes) < 512 << 10


def test_slow_viewer_is_served_until_it_stalls(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.monotonic()  # the server's, so that a busy machine is not a slow viewer
    read_at: dict[tuple[str, int], float] = {}

    def timed_out(self: BoundedHttp, now: float) -> bool:
        found = BoundedHttp.timed_out(self, clock)
        assert self.client is not None
        read_at[self.client] = self._read_at
        return found

    monkeypatch.setattr(Quick, "timed_out", timed_out)
    monkeypatch.setattr(server, "_SWEEP_TICKS", 1)
    run_id = service.run("loud")
    until(lambda: service.client.get(f"/jobs/{run_id}/log").content.count(b"\n") > 400)
    with service.follow(run_id) as connection:
        viewer = connection.getsockname()

        def progressed(at: float) -> bool:
            return len(connection.recv(1 << 15)) > 0 and read_at.get(viewer) == at

        for _ in range(2):
            clock += 0.9 * Quick.stalled_seconds
            until(partial(progressed, clock))
        assert service.services.stream_limit.open == 1

        def disconnected() -> bool:
            nonlocal clock
            clock += 1.1 * Quick.stalled_seconds  # repeatedly: the network's buffers may have taken more meanwhile
            return bool(service.services.stream_limit.open == 0)

        until(disconnected)


def test_quiet_stream_does_not_time_out(service: Service) -> None:
    run_id = service.run("quiet")
    with service.follow(run_id):
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 2.5)
        assert service.services.stream_limit.open == 1
    until(lambda: service.services.stream_limit.open == 0)


def test_streams_end_as_soon_as_the_server_shuts_down(tmp_path: Path) -> None:
    (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump(PIPELINES))
    app = application(tmp_path, PIPELINES_FILE=str(tmp_path / "pipelines.yaml"), TERMINATION_GRACE_SECONDS="0")
    with contextlib.ExitStack() as stack:
        with served(app, graceful_seconds=600) as address:  # far longer than `served` waits for the server to stop
            service = Service(app, address)
            stack.enter_context(contextlib.closing(service.client))
            connection = stack.enter_context(service.follow(service.run("quiet")))
        assert b"Starting pipeline" in closed(connection)


async def _broken(run_id: str, after: int) -> AsyncGenerator[bytes, None]:
    yield b": first\n\n"
    raise RuntimeError("unexpected")


async def _broken_at_once(run_id: str, after: int) -> AsyncGenerator[bytes, None]:
    raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "unexpected")
    yield b""


@pytest.mark.parametrize("events", [_broken, _broken_at_once])
def test_failed_stream_frees_its_slot(
    service: Service, monkeypatch: pytest.MonkeyPatch, events: Callable[[str, int], AsyncGenerator[bytes, None]]
) -> None:
    run_id = service.run("quiet")
    monkeypatch.setattr(service.services.feeds, "events", events)
    for _ in range(20):
        with contextlib.suppress(httpx.HTTPError):
            service.client.get(f"/jobs/{run_id}/logs")
    until(lambda: service.services.stream_limit.open == 0)


def test_disconnected_streams_free_their_slots(service: Service) -> None:
    run_id = service.run("quiet")
    for wait in (0, 0, 0, 1):
        for path in ("logs", "log"):
            request = f"GET /jobs/{run_id}/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
            with service.connect(request.encode()) as connection:
                if wait:
                    connection.recv(10)
        service.client.head(f"/jobs/{run_id}/logs")
    until(lambda: service.services.stream_limit.open == 0)
    until(lambda: not service.services.feeds._feeds)


def test_streams_are_limited_per_ticket_and_in_total(service: Service) -> None:
    run_id = service.run("quiet")
    url = service.client.post(f"/jobs/{run_id}/ticket").json()["logs_url"]
    with contextlib.ExitStack() as stack:
        for _ in range(STREAMS_PER_TICKET):
            stack.enter_context(service.client.stream("GET", url, headers={"Authorization": ""}))
        refused = service.client.get(url, headers={"Authorization": ""})
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert int(refused.headers["retry-after"]) > 0
        assert "ticket" in refused.json()["detail"]
        while service.services.stream_limit.open < 12:
            stack.enter_context(service.client.stream("GET", f"/jobs/{run_id}/logs"))
        full = service.client.get(f"/jobs/{run_id}/logs")
        assert (full.status_code, full.headers["content-type"]) == (503, "application/problem+json")
        assert int(full.headers["retry-after"]) > 0
        assert "MAX_STREAMS" in full.json()["detail"]
        assert service.client.get(f"/jobs/{run_id}/status").status_code == 200
    until(lambda: service.services.stream_limit.open == 0)
    with service.client.stream("GET", url, headers={"Authorization": ""}) as answer:
        assert answer.status_code == 200


def test_shutdown_frees_all_stream_slots(tmp_path: Path) -> None:
    (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump(PIPELINES))
    app = application(tmp_path, PIPELINES_FILE=str(tmp_path / "pipelines.yaml"), TERMINATION_GRACE_SECONDS="0")
    with contextlib.ExitStack() as stack:
        with served(app) as address:
            service = Service(app, address)
            stack.callback(service.client.close)
            run_id = service.run("quiet")
            for _ in range(3):
                stack.enter_context(service.follow(run_id))
            until(lambda: service.services.stream_limit.open == 3)
        assert service.services.stream_limit.open == 0
