"""The network probe against real sockets: what is open, what closes late, what is closed."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from launcher.cluster import network_probe


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_probe, "_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(network_probe, "_DNS_SECONDS", 0.1)
    monkeypatch.setattr(network_probe, "_INTERNET_SECONDS", 0.1)
    monkeypatch.setattr(network_probe, "_CLUSTER_NAME", "localhost")
    monkeypatch.setattr(network_probe, "_ROUTES", Path("/nowhere"))
    for name in ("KUBERNETES_SERVICE_HOST", "NODE_ADDRESSES"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address_of(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def unused() -> str:
    with listening() as server:
        return address_of(server)


def probe(seconds: float = 5, **plan: Any) -> dict[str, Any]:
    base = {"forbidden": {}, "node_ports": [], "internet": "127.0.0.1", "name": None, "seconds": seconds}
    return network_probe.Probe({**base, **plan}).run()


def only(result: dict[str, Any]) -> dict[str, Any]:
    [found] = result["forbidden"]
    return dict(found)


def test_closed_address_is_closed_from_the_start(unused: str) -> None:
    found = only(probe(forbidden={"Redis": [unused]}))
    assert found == {"name": "Redis", "address": unused, "state": "closed", "open_until": None}


def test_address_that_stays_open_is_open_when_the_time_is_up() -> None:
    with listening() as server:
        begin = time.monotonic()
        found = only(probe(0.3, forbidden={"Redis": [address_of(server)]}))
        assert 0.3 <= time.monotonic() - begin < 5
    assert found["state"] == "open" and found["open_until"] >= 0.3


def test_address_that_closes_later_is_closed_with_the_time_it_took() -> None:
    with listening() as server:
        closing = threading.Timer(0.3, server.shutdown, [socket.SHUT_RDWR])
        closing.start()
        found = only(probe(forbidden={"Redis": [address_of(server)]}))
        closing.join()
    assert found["state"] == "closed" and 0.1 < found["open_until"] < 2


def test_attempts_continue_until_it_is_known_whether_the_pod_has_a_network(
    monkeypatch: pytest.MonkeyPatch, unused: str
) -> None:
    host, port = unused.split(":")
    opened: list[socket.socket] = []

    def late_network(name: str, family: int) -> list[str]:
        if not opened:
            time.sleep(0.2)
            opened.append(socket.create_server((host, int(port))))
        return ["10.43.0.1"]

    monkeypatch.setattr(network_probe, "_addresses", late_network)
    try:
        assert only(probe(0, forbidden={"Redis": [unused]}))["state"] == "open"
    finally:
        opened[0].close()


def test_name_that_does_not_resolve_is_not_counted_as_closed() -> None:
    assert only(probe(forbidden={"Redis": ["no-such-host.invalid:6379"]}))["state"] == "unresolved"


def test_api_server_and_node_are_tried_at_every_address_that_the_pod_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    routes = tmp_path / "route"
    routes.write_text("Iface\tDestination\tGateway\neth0\t00000000\t01002A0A\neth0\t00002A0A\t00000000\n")
    monkeypatch.setattr(network_probe, "_ROUTES", routes)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.43.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("NODE_ADDRESSES", "10.0.0.5,2001:db8::5")
    plan = {"forbidden": {}, "nodes": ["203.0.113.7", "10.0.0.5"], "node_ports": [22]}
    assert list(network_probe._targets(plan)) == [
        ("Kubernetes API", "10.43.0.1", 443),
        ("node", "203.0.113.7", 22),
        ("node", "10.0.0.5", 22),
        ("node", "2001:db8::5", 22),
        ("node", "10.42.0.1", 22),
    ]


def test_records_of_the_public_name_are_looked_up_and_a_missing_one_is_empty() -> None:
    assert network_probe._addresses("localhost", socket.AF_INET) == ["127.0.0.1"]
    assert probe(name="no-such-host.invalid")["records"] in ({"A": [], "AAAA": []}, {"A": None, "AAAA": None})
    assert probe()["records"] is None


def test_without_internet_there_is_no_time_to_compare_with(monkeypatch: pytest.MonkeyPatch, unused: str) -> None:
    monkeypatch.setattr(network_probe, "_HTTPS", int(unused.split(":")[1]))
    found = probe()
    assert (found["dns"], found["internet"]["reached"], found["clock_ahead"]) == (True, False, None)


def test_clock_is_compared_with_a_server_whose_certificate_may_be_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-subj", "/CN=x", "-out", str(tmp_path / "crt"), "-keyout", str(tmp_path / "key")]
    subprocess.run(make, check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with listening() as server:

        def answer() -> None:
            for _ in range(2):  # the connection that is only opened, then the request
                connection, _address = server.accept()
                try:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(4096)
                        head = f"HTTP/1.1 405 Method Not Allowed\r\nDate: {formatdate(time.time() - 90, usegmt=True)}"
                        secured.sendall(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
                except OSError:
                    connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setattr(network_probe, "_HTTPS", server.getsockname()[1])
        found = probe()
        thread.join(10)
    assert found["internet"] == {"host": "127.0.0.1", "reached": True}
    assert 88 < found["clock_ahead"] < 92


PROGRAM = """
import sys
from launcher.cluster import network_probe as program
program._DNS_SECONDS = program._INTERNET_SECONDS = 0
program.main()
print(*sys.modules)
"""


def test_program_needs_only_the_standard_library_and_prints_json() -> None:
    plan = {"forbidden": {}, "node_ports": [], "internet": "no-such-host.invalid", "name": None, "seconds": 0}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(plan)], check=True, capture_output=True, text=True, timeout=60
    )
    result, loaded = done.stdout.splitlines()
    assert json.loads(result)["internet"]["reached"] is False
    assert not {"pydantic", "kubernetes.aio", "httpx"} & set(loaded.split())
