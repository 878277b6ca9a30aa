"""What the doctor says about the host name's records and certificate, and about clocks."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.cli.findings import Finding
from launcher.cli.server_checks import certificate_finding, clock_findings, dns_findings

HOST = "runner.example.test"
OURS, OTHER = "203.0.113.7", "198.51.100.9"


def dns(a: list[str] | None, aaaa: list[str] | None, nodes: tuple[str, ...] = (OURS,)) -> dict[str, Finding]:
    found = list(dns_findings(HOST, {"A": a, "AAAA": aaaa}, nodes))
    assert all(each.do or each.state == "ok" for each in found)
    return {each.check: each for each in found}


def test_name_of_this_server_is_ok() -> None:
    assert dns([OURS], []) == {"DNS A": Finding("DNS A", "ok", f"{HOST} is {OURS}, this server")}


def test_address_of_this_machine_counts_too() -> None:
    assert dns(["127.0.0.1"], [])["DNS A"].state == "ok"


def test_name_without_a_record_is_a_fault_that_shows_the_address_to_use() -> None:
    found = dns([], [])["DNS A"]
    assert (found.state, found.found) == ("fail", f"{HOST} has no A record")
    assert OURS in found.do


def test_record_of_another_address_is_a_warning_because_a_proxy_may_be_in_front() -> None:
    found = dns([OTHER], [])["DNS A"]
    assert found.state == "warn" and f"{OTHER}, which is not an address of this server ({OURS})" in found.found
    assert "Correct the A record, unless" in found.do and "proxy" in found.do


def test_second_a_record_that_points_elsewhere_is_reported() -> None:
    assert dns([OURS, OTHER], [])["DNS A"].found.startswith(f"{HOST} is {OTHER}, which is not")


def test_aaaa_record_that_points_elsewhere_is_a_warning() -> None:
    found = dns([OURS], ["2001:db8::9"])["DNS AAAA"]
    assert (found.state, "2001:db8::9" in found.found) == ("warn", True)
    assert "Remove the AAAA record" in found.do and "IPv6" in found.do


def test_aaaa_record_of_a_server_without_ipv6_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET6) as unused:
        unused.bind(("::1", 0))
        monkeypatch.setattr("launcher.cli.server_checks._HTTPS", unused.getsockname()[1])
        found = dns([OURS], ["::1"])["DNS AAAA"]
        assert found.state == "warn" and "refuses connections on port 443" in found.found and "IPv4 only" in found.do
        unused.listen()
        assert dns([OURS], ["::1"])["DNS AAAA"].state == "ok"


def test_name_that_could_not_be_looked_up_is_not_judged() -> None:
    assert dns(None, None)["DNS"].state == "warn"
    assert next(dns_findings(HOST, None, [OURS])).state == "warn"


Serve = Callable[..., int]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve TLS with a certificate made for the test, and trust it."""
    servers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(*, name: str = HOST, subject: str = "/O=Test Authority/CN=x", days: int = 90) -> int:
        certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        make += ["-days", str(days), "-subj", subject]
        make += ["-addext", f"subjectAltName=DNS:{name}", "-out", str(certificate), "-keyout", str(key)]
        subprocess.run(make, check=True, capture_output=True, timeout=30)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # the test has closed it
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:  # the client does not trust the certificate
                    connection.close()

        threads.append(threading.Thread(target=answer, daemon=True))
        threads[-1].start()
        port: int = server.getsockname()[1]
        return port

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(10)


def test_trusted_certificate_is_ok_with_its_issuer_and_days(serve: Serve) -> None:
    found = certificate_finding(HOST, "127.0.0.1", serve())
    assert found == Finding("certificate", "ok", "issued by Test Authority, 90 days left")


def test_certificate_that_was_not_renewed_is_a_warning(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port, later = serve(), time.time() + 75 * 86400
    monkeypatch.setattr("launcher.cli.server_checks.time.time", lambda: later)
    found = certificate_finding(HOST, "127.0.0.1", port)
    assert (
        found.state == "warn" and "15 days left" in found.found and "not renewed" in found.found and "log" in found.do
    )


def test_short_lived_certificate_is_judged_by_its_own_lifetime(serve: Serve) -> None:
    assert certificate_finding(HOST, "127.0.0.1", serve(days=6)).state == "ok"


def test_default_certificate_of_traefik_is_a_fault(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve(name="x.traefik.default", subject="/CN=TRAEFIK DEFAULT CERT")
    monkeypatch.delenv("SSL_CERT_FILE")
    found = certificate_finding(HOST, "127.0.0.1", port)
    assert found.state == "fail" and "Traefik shows its own default certificate" in found.found
    assert "Let's Encrypt" in found.do and "kubectl -n kube-system logs deployment/traefik" in found.do


def test_certificate_of_another_name_is_a_fault(serve: Serve) -> None:
    found = certificate_finding(HOST, "127.0.0.1", serve(name="other.example.test"))
    assert found.state == "fail" and "mismatch" in found.found and found.do


def test_certificate_of_an_unknown_authority_is_a_fault(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve()
    monkeypatch.delenv("SSL_CERT_FILE")
    found = certificate_finding(HOST, "127.0.0.1", port)
    assert found.state == "fail" and "self-signed" in found.found and found.do


def test_server_that_does_not_answer_is_a_fault() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = certificate_finding(HOST, "127.0.0.1", unused.getsockname()[1])
    assert found.state == "fail" and "does not answer at 127.0.0.1" in found.found and "port 443 is open" in found.do


@pytest.mark.parametrize(
    ("ahead", "state", "text"),
    [
        (0.4, "ok", "agrees with the internet's"),
        (-4.0, "ok", "agrees with the internet's"),
        (9.0, "warn", "9 s ahead of the internet's"),
        (-300.0, "fail", "300 s behind the internet's"),
        (None, "skip", "not compared: no server on the internet was reached"),
    ],
)
def test_clock_of_the_node_is_compared_with_the_internet(ahead: float | None, state: str, text: str) -> None:
    node, _ = clock_findings(ahead, (-0.5, 0.5))
    assert (node.state, node.found) == (state, text)
    assert state in ("ok", "skip") or "timedatectl" in node.do


@pytest.mark.parametrize(
    ("server_ahead", "state", "text"),
    [
        ((-0.2, 1.0), "ok", "agrees with this machine's"),
        ((7.0, 8.2), "warn", "7 s ahead of this machine's"),
        ((-91.0, -90.0), "fail", "90 s behind this machine's"),
    ],
)
def test_clock_of_the_api_server_is_compared_with_this_machines(
    server_ahead: tuple[float, float], state: str, text: str
) -> None:
    _, server = clock_findings(None, server_ahead)
    assert (server.state, server.found) == (state, text)
    assert state == "ok" or server.do
