"""Egress rules: tables of hostile addresses, and the proxy that enforces them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

from pipeline_runner.egress import EgressRefusedError, is_public, networks_from, permitted
from pipeline_runner.egress_proxy import EgressProxy
from pipeline_runner.errors import PipelineError

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "4000::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "192.169.0.1", "223.255.255.255", "2606:4700::1111"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_not_permitted(address):
    assert not is_public(ip_address(address))
    assert permitted([address], 80, ()) == []


@pytest.mark.parametrize("address", [*PUBLIC, "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_address_is_permitted(address):
    assert permitted([address], 443, ()) == [address]


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 6443, 10250, 27017])
def test_public_address_is_permitted_only_on_web_ports(port):
    assert permitted(["8.8.8.8"], port, ()) == []


def test_configured_network_is_permitted_on_any_port():
    allowed = networks_from("127.0.0.1, 10.1.0.0/16,fd00::/8")
    found = ["127.0.0.1", "127.0.0.2", "10.1.2.3", "10.2.0.1", "::ffff:127.0.0.1", "fd00::5", "::1"]
    assert permitted(found, 6379, allowed) == ["127.0.0.1", "10.1.2.3", "::ffff:127.0.0.1", "fd00::5"]


def test_empty_setting_allows_no_network():
    assert networks_from(" , ") == ()


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "::1/129"])
def test_invalid_range_is_rejected_with_its_name(text):
    with pytest.raises(PipelineError, match="BROWSER_ALLOWED_NETWORKS"):
        networks_from(text)


class Site(BaseHTTPRequestHandler):
    """Returns the request that it received."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"x" * 300_000 if self.path == "/large" else f"{self.path} {dict(self.headers)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "keep-alive")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def said(proxy: EgressProxy, *parts: bytes) -> bytes:
    """The proxy's response until it closes the connection."""
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


@contextmanager
def proxied(*answers: list[str], allowed: str = "", max_bytes: int = 1 << 20) -> Iterator[EgressProxy]:
    """A proxy whose names resolve to the given answers, one per lookup; without any, to their real addresses."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> list[str]:
        return left.pop(0)

    with EgressProxy(networks_from(allowed), max_bytes=max_bytes, resolve=resolve if answers else None) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://017700000001:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://127.1:{port}/",
        "http://0:{port}/",
    ],
)
def test_no_spelling_of_loopback_is_forwarded(site, target):
    with proxied() as proxy:
        answer = said(proxy, f"GET {target.format(port=site)} HTTP/1.1\r\n\r\n".encode())
        assert b" 403 " in answer or b" 502 " in answer  # 502: the name does not resolve
        assert b"Host" not in answer


def test_connect_to_a_private_address_is_refused(site):
    with proxied() as proxy:
        answer = said(proxy, f"CONNECT 127.0.0.1:{site} HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert proxy.refusals == [f"127.0.0.1:{site} is not on the public web and not in BROWSER_ALLOWED_NETWORKS"]
        proxy.renew()
        assert proxy.refusals == []


def test_name_rebound_to_a_private_address_is_refused(site):
    with proxied(["127.0.0.1"], ["10.0.0.1"], allowed="127.0.0.1") as proxy:
        request = f"GET http://turncoat.example:{site}/ HTTP/1.1\r\nConnection: keep-alive\r\n\r\n".encode()
        assert said(proxy, request).startswith(b"HTTP/1.1 200 ")
        assert said(proxy, request).startswith(b"HTTP/1.1 403 ")


def test_proxy_connects_to_the_checked_address(site):
    with proxied(["10.9.9.9", "127.0.0.1"], allowed="127.0.0.1") as proxy:
        assert b" 200 " in said(proxy, f"GET http://two-faced.example:{site}/ HTTP/1.1\r\n\r\n".encode())


def test_check_applies_the_same_rules():
    with proxied(["192.168.0.1"], ["8.8.8.8"]) as proxy:
        with pytest.raises(EgressRefusedError, match=r"inside\.example:80 is not on the public web"):
            proxy.check("inside.example", 80)
        proxy.check("outside.example", 443)


def test_proxy_headers_are_not_forwarded(site):
    with proxied(allowed="127.0.0.1") as proxy:
        head = f"GET http://127.0.0.1:{site}/a?b=c HTTP/1.1\r\nHost: h\r\nProxy-Authorization: secret\r\n\r\n"
        answer = said(proxy, head.encode())
        assert b"/a?b=c" in answer
        assert b"secret" not in answer


def test_connection_serves_one_request(site):
    with proxied(allowed="127.0.0.1") as proxy:
        answer = said(proxy, f"GET http://127.0.0.1:{site}/ HTTP/1.1\r\n\r\n".encode())
        assert b"\r\nConnection: close\r\n" in answer.partition(b"\r\n\r\n")[0] + b"\r\n"
        assert b"\r\nConnection: keep-alive\r\n" not in answer


def test_byte_limit_is_enforced_and_reported(site):
    with proxied(allowed="127.0.0.1", max_bytes=100_000) as proxy:
        answer = said(proxy, f"GET http://127.0.0.1:{site}/large HTTP/1.1\r\n\r\n".encode())
        assert len(answer) < 300_000
        assert proxy.exhausted
        proxy.renew()
        assert not proxy.exhausted


@pytest.mark.parametrize(
    "request_line",
    [
        "GET / HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET ftp://8.8.8.8/ HTTP/1.1",
        "GET http://8.8.8.8:x/ HTTP/1.1",
        "GET http:/// HTTP/1.1",
        "GET http://user@8.8.8.8/ HTTP/1.1",
        "CONNECT 8.8.8.8 HTTP/1.1",
        "CONNECT :443 HTTP/1.1",
        "GET",
        "\xff\xfe \x00 \x01",
    ],
)
def test_invalid_proxy_request_is_400(request_line):
    with proxied() as proxy:
        assert said(proxy, f"{request_line}\r\n\r\n".encode("latin-1")).startswith(b"HTTP/1.1 400 ")


def test_endless_request_head_is_cut_off():
    with proxied() as proxy:
        assert said(proxy, b"GET http://8.8.8.8/ HTTP/1.1\r\n", b"X: y\r\n" * 20_000) == b""
