"""The environment's proxy is for external hosts: Slipway's own connections bypass it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from frontend import connection
from frontend.app import create_app
from launching.service_process import INHERITED, ROOT

SECONDS = 60
SECRET = "0123456789abcdef0123456789abcdef"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
SCHEMES = ("http", "socks5", "socks")


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    """A listening socket that must not receive a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def environment(proxy: socket.socket, scheme: str) -> dict[str, str]:
    return dict.fromkeys(NAMES, f"{scheme}://127.0.0.1:{proxy.getsockname()[1]}")


class Heard:
    """The requests that the launcher received."""

    def __init__(self, url: str) -> None:
        self.url, self.credentials = url, list[str | None]()


@contextmanager
def launcher(certificate: Path | None = None) -> Iterator[Heard]:
    """A server that responds like a launcher without runs."""
    import ssl

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.credentials.append(self.headers["Authorization"])
            stream = self.path.endswith("/logs")
            body = (
                b"event: end\ndata: {}\n\n"
                if stream
                else json.dumps({"runs": [], "total": 0, "tz": "UTC", "days": []}).encode()
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    heard = Heard(f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate: key and certificate in one file, and the certificate alone in another."""
    file = tmp_path_factory.mktemp("tls") / "pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, *names, "-keyout", str(file), "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def slipway(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "launcher.cli.main", *arguments],
        cwd=ROOT,
        env={**inherited, "RUNNER_API_SECRET": SECRET, **environ},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def statuses(url: str) -> list[int]:
    """The front end's status codes for a page, a call, a file and a stream."""
    settings = {"SLIPWAY_ENV": "development", "RUNNER_URL": url, "RUNNER_API_SECRET": SECRET}
    browser = create_app(settings, "127.0.0.1").test_client()
    paths = ("/runs", "/api/runner/jobs/r/status", "/api/runner/artifacts/r/CV.md", "/api/runner/jobs/r/logs")
    return [browser.get(path, buffered=True, base_url="http://localhost").status_code for path in paths]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_front_end_connects_to_the_launcher_directly(
    proxy: socket.socket, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(proxy, scheme).items():
        monkeypatch.setenv(name, value)
    with launcher() as heard:
        assert statuses(heard.url) == [200] * 4
    assert set(heard.credentials) == {f"Bearer {SECRET}"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_command_line_connects_to_the_launcher_directly(proxy: socket.socket, scheme: str) -> None:
    with launcher() as heard:
        done = slipway("ps", RUNNER_URL=heard.url, **environment(proxy, scheme))
    assert (done.returncode, done.stderr) == (0, "0 of 0 runs\n")
    assert heard.credentials == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_secret_is_sent_only_over_verified_https_in_any_spelling(certificate: Path, scheme: str) -> None:
    with launcher(certificate) as heard:
        url = heard.url.replace("https", scheme)
        refused = slipway("ps", RUNNER_URL=url)
        assert (refused.returncode, "certificate is not trusted" in refused.stderr) == (69, True)
        assert heard.credentials == []
        assert slipway("ps", RUNNER_URL=url, SSL_CERT_FILE=f"{certificate}.crt").returncode == 0
    assert heard.credentials == [f"Bearer {SECRET}"]


def test_front_end_trusts_a_private_ca_only_if_configured(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        with launcher(certificate) as heard:
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            connection.ssl_context.cache_clear()
            assert statuses(heard.url)[1] == 503
            assert heard.credentials == []
            monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
            connection.ssl_context.cache_clear()
            assert statuses(heard.url)[1] == 200
    finally:
        connection.ssl_context.cache_clear()


def test_unusable_certificates_are_reported_at_startup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    connection.ssl_context.cache_clear()
    try:
        with pytest.raises(ValueError, match="SSL_CERT_FILE or SSL_CERT_DIR cannot be used"):
            create_app({"SLIPWAY_ENV": "development"}, "127.0.0.1")
    finally:
        connection.ssl_context.cache_clear()
