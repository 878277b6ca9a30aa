"""The doctor reports each problem between this machine and the cluster, and how to fix it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import health_problems
from launching.launcher import Launcher
from launching.service_process import INHERITED, ROOT

SECONDS = 60
HEALTH = {
    "status": "healthy",
    "active_runs": 0,
    "max_concurrency": 3,
    "queued": 0,
    "paused": False,
    "redis": "off",
    "mongodb": "off",
    "engine": "local",
    "kubernetes": "off",
    "operator": "off",
}


def doctor(folder: Path = ROOT, *options: str, **environ: str) -> dict[str, dict[str, str]]:
    """Return the findings by check. kubectl is not in PATH unless a test adds one."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {"PATH": "/nowhere"} | environ
    done = subprocess.run(
        [sys.executable, "-m", "launcher.cli.main", "doctor", "--json", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    checks = json.loads(done.stdout)["checks"]
    assert (done.returncode, done.stderr) == (int(any(each["state"] == "fail" for each in checks)), "")
    for each in checks:
        assert each["do"] or each["state"] in ("ok", "skip"), each  # each problem comes with a fix
    return {each["check"]: each for each in checks}


@contextmanager
def health_server(health: Any, certificate: Path | None = None) -> Iterator[str]:
    """Run a server that answers every request with this, like another version or program."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(health).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that does not trust the certificate disconnects

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{'https' if certificate else 'http'}://localhost:{server.server_port}"
        server.shutdown()
        thread.join(SECONDS)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, *names, "-keyout", str(file), "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.mark.parametrize(
    ("url", "found", "do"),
    [
        ("http://127.0.0.1:9", "connection refused", "slipway-launcher serve"),
        ("http://no-such-host.invalid", "does not resolve", "DNS"),
        ("runner.example.com", "is not a valid URL", "RUNNER_URL"),
    ],
)
def test_unreachable_launcher_is_reported_with_its_cause(url: str, found: str, do: str) -> None:
    check = doctor(RUNNER_URL=url)["launcher"]
    assert check["state"] == "fail"
    assert found in check["found"] and do in check["do"]


def test_each_tls_error_has_its_own_advice(certificate: Path) -> None:
    with health_server(HEALTH, certificate) as url:
        untrusted = doctor(RUNNER_URL=url)["launcher"]
        assert "certificate is not trusted" in untrusted["found"] and "SSL_CERT_FILE" in untrusted["do"]
        assert doctor(RUNNER_URL=url, SSL_CERT_FILE=f"{certificate}.crt")["launcher"]["state"] == "ok"
        plain = doctor(RUNNER_URL=url.replace("https", "http"))["launcher"]
        assert plain["state"] == "fail" and "https://" in plain["do"]
    with health_server(HEALTH) as url:
        assert "http://" in doctor(RUNNER_URL=url.replace("http", "https"))["launcher"]["do"]


@pytest.mark.parametrize(
    ("health", "check", "state", "message"),
    [
        (HEALTH, "version", "warn", "too old to report"),
        (HEALTH | {"version": "99.0"}, "version", "warn", "99.0"),
        (HEALTH | {"engine": "kubernetes", "kubernetes": "away"}, "engine", "fail", "Kubernetes does not answer"),
        (HEALTH | {"engine": "kubernetes", "kubernetes": "ok", "operator": "up"}, "operator", "ok", "up"),
        (
            HEALTH | {"engine": "kubernetes", "kubernetes": "ok", "operator": "away"},
            "operator",
            "fail",
            health_problems.OPERATOR_DOWN,
        ),
        (HEALTH | {"engine": "kubernetes", "kubernetes": "ok", "operator": "unknown"}, "operator", "warn", "Lease"),
        ({"hello": "there"}, "health", "fail", "does not come from a launcher"),
        (["not", "an", "object"], "launcher", "fail", "is not a launcher"),
    ],
)
def test_response_of_another_version_or_program_is_checked(health: Any, check: str, state: str, message: str) -> None:
    with health_server(health) as url:
        found = doctor(RUNNER_URL=url, RUNNER_API_SECRET="s" * 64)[check]
    assert (found["state"], message in found["found"]) == (state, True), found


@pytest.mark.parametrize(
    ("changes", "check", "state", "do"),
    [
        ({"archive": "full"}, "archive", "fail", "Free space"),
        ({"archive": "unreadable"}, "archive", "fail", "Check the disk"),
        ({"lost_lines": 12}, "lost lines", "warn", "Free space"),
        ({"redis": "away"}, "redis", "warn", "REDIS_URL"),
        ({"engine": "kubernetes", "kubernetes": "away"}, "engine", "fail", "ServiceAccount"),
        ({"engine": "kubernetes", "operator": "away"}, "operator", "fail", "get pods"),
        ({}, "health", "warn", "See the launcher's log"),
    ],
)
def test_each_problem_of_the_launcher_is_reported_once_with_what_to_do(
    changes: dict[str, Any], check: str, state: str, do: str
) -> None:
    problem = {
        "redis": health_problems.STORE_DOWN["redis"],
        "archive": health_problems.ARCHIVE.get(changes.get("archive", ""), ""),
        "lost lines": health_problems.lost_lines(12),
        "engine": health_problems.KUBERNETES_DOWN,
        "operator": health_problems.OPERATOR_DOWN,
        "health": health_problems.unreadable_records(2),
    }[check]
    with health_server(HEALTH | changes | {"problems": [problem]}) as url:
        checks = doctor(RUNNER_URL=url, RUNNER_API_SECRET="s" * 64)
    assert (checks[check]["state"], checks[check]["found"]) == (state, problem)
    assert do in checks[check]["do"]
    assert [each["found"] for each in checks.values()].count(problem) == 1


def test_lines_lost_earlier_are_reported_even_if_the_launcher_is_healthy() -> None:
    with health_server(HEALTH | {"problems": [], "lost_lines": 7}) as url:
        found = doctor(RUNNER_URL=url, RUNNER_API_SECRET="s" * 64)["lost lines"]
    assert found["found"] == health_problems.lost_lines(7)


@pytest.mark.parametrize(
    ("secret", "state", "message"),
    [
        ("hunter\n", "fail", "ends with a line break, which echo adds"),
        ("'hunter'", "fail", "quotation marks around it that were meant for a shell"),
        ("hünter", "fail", "other than ASCII"),
        ("", "warn", "RUNNER_API_SECRET is not set"),
        ("hunter", "warn", "has fewer than 32 bytes"),
    ],
)
def test_invalid_missing_and_weak_secrets_are_distinguished(secret: str, state: str, message: str) -> None:
    with health_server(HEALTH) as url:
        checks = doctor(RUNNER_URL=url, RUNNER_API_SECRET=secret)
    assert (checks["secret"]["state"], message in checks["secret"]["found"]) == (state, True), checks["secret"]
    assert checks["launcher"]["state"] == "ok", "the launcher answers without a credential"
    assert checks["credential"]["state"] == ("skip" if state == "fail" else "ok")
    assert "hunter" not in json.dumps(checks)


def test_url_with_a_password_is_refused_and_not_shown() -> None:
    checks = doctor(RUNNER_URL="https://me:hunter@runner.example.com", RUNER_URL="x")
    assert checks["launcher"]["state"] == "fail"
    assert "must not contain a user name or a password" in checks["launcher"]["found"]
    assert "hunter" not in json.dumps(checks)


def test_env_lines_that_a_shell_misreads_are_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_CONCURRENCY=3\nMONGODB_URI=mongodb://u:hunter@h/?a=b&w=1\n")
    with health_server(HEALTH) as url:
        check = doctor(tmp_path, RUNNER_URL=url, RUNNER_API_SECRET="s" * 64)[".env"]
        assert (check["state"], "hunter" in str(check)) == ("fail", False)
        assert ".env:2 sets MONGODB_URI to a value" in check["found"] and "single quotes" in check["do"]
        (tmp_path / ".env").write_text("MAX_CONCURRENCY='3'\n")
        assert doctor(tmp_path, RUNNER_URL=url)[".env"]["found"].startswith("not loaded")
        assert doctor(tmp_path, RUNNER_URL=url, MAX_CONCURRENCY="3")[".env"]["found"] == "loaded"


def test_operator_that_is_down_is_reported_with_commands_to_inspect_it() -> None:
    with health_server(HEALTH | {"engine": "kubernetes", "kubernetes": "ok", "operator": "away"}) as url:
        do = doctor(RUNNER_URL=url, RUNNER_API_SECRET="s" * 64, KUBE_NAMESPACE="other")["operator"]["do"]
    assert "kubectl -n other get pods" in do and "kubectl -n other logs deployment/slipway-operator" in do
    with health_server(HEALTH) as url:
        assert "operator" not in doctor(RUNNER_URL=url, RUNNER_API_SECRET="s" * 64)  # the local engine has none


def test_wrong_secret_and_unreachable_stores_are_reported_together(tmp_path: Path) -> None:
    unreachable: dict[str, Any] = {
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "MONGODB_URI": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200",
    }
    with Launcher(tmp_path, **unreachable) as launcher:
        none = doctor(RUNNER_URL=launcher.url)["credential"]
        assert none["state"] == "fail" and "This launcher requires a credential" in none["found"]
        checks = doctor(RUNNER_URL=launcher.url, RUNNER_API_SECRET="w" * 64)
        assert (checks["credential"]["state"], "token that it signed" in checks["credential"]["do"]) == ("fail", True)
        for store, setting in (("redis", "REDIS_URL"), ("mongodb", "MONGODB_URI")):
            assert (checks[store]["state"], setting in checks[store]["do"]) == ("warn", True), checks[store]
        right = doctor(RUNNER_URL=launcher.url, RUNNER_API_SECRET=launcher.secret)
        assert {right[name]["state"] for name in ("launcher", "version", "credential", "secret", "queue")} == {"ok"}


def test_unreachable_kubernetes_is_reported_with_kubectls_message(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'The connection to the server 127.0.0.1:9 was refused' >&2; exit 1\n")
    kubectl.chmod(0o755)
    with health_server(HEALTH) as url:
        check = doctor(RUNNER_URL=url, PATH=f"{tmp_path}:/bin", KUBECONFIG=str(tmp_path / "config"))["cluster"]
    assert (check["state"], "was refused" in check["found"], "KUBECONFIG" in check["do"]) == ("fail", True, True)


def test_cluster_is_verified_only_on_request(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls; echo \'{{"items": []}}\'\n')
    kubectl.chmod(0o755)
    with health_server(HEALTH) as url:
        here = {"RUNNER_URL": url, "PATH": f"{tmp_path}:/bin", "KUBECONFIG": str(tmp_path / "config")}
        assert "probes" not in doctor(ROOT, **here)
        assert "networkpolicies" not in (tmp_path / "calls").read_text()
        found = doctor(ROOT, "--cluster", **here)["probes"]
        assert (found["state"], found["found"]) == ("fail", "not started: no pod of slipway-launcher is ready")
        without = doctor(ROOT, "--cluster", RUNNER_URL=url)["probes"]
    assert (without["state"], without["found"]) == ("fail", "not started: kubectl is not installed")
