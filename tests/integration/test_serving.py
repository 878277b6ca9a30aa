"""The front end's server: alone or with a launcher, with many streams, and behind a proxy."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from frontend.app import create_app
from frontend.config import read_config
from frontend.sign_in_attempts import AttemptsInMemory
from launching.frontend import Frontend
from launching.launcher import Launcher
from launching.service_process import INHERITED, ROOT

SECONDS = 60
STREAMS = 40
SLEEPER = {"sleeper": {"command": ["python", "-uc", "print('up'); import time; time.sleep(600)"], "artifacts": {}}}


@contextlib.contextmanager
def together(directory: Path, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Launcher and front end as `make serve` starts them, and the line that it prints."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {"SLIPWAY_ENV": "development", "PORT": "0", "FRONTEND_PORT": "0"}
    environment |= {"ARCHIVE_DIR": str(directory / "archive"), "APPLICATIONS_DIR": str(directory / "applications")}
    command = [sys.executable, "-m", "frontend", "--with-launcher"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment | environ, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline()
        finally:
            process.terminate()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_launcher_and_front_end_start_and_end_together(tmp_path: Path, number: int) -> None:
    with together(tmp_path) as (process, printed):
        url = re.fullmatch(r"Slipway's pages are on (http://127\.0\.0\.1:\d+)\n", printed)
        assert url, printed
        assert httpx.get(f"{url[1]}/runs", trust_env=False).status_code == 200  # without a launcher it would be 503
        both = children(process.pid)
        assert len(both) == 2
        process.send_signal(number)
        rest, said = process.communicate(timeout=SECONDS)
        assert (process.returncode, rest, said) == (0, "", "")
        assert not [pid for pid in both if alive(pid)]


def test_front_end_ends_with_its_launcher(tmp_path: Path) -> None:
    with together(tmp_path) as (process, _):
        launcher, pages = children(process.pid)
        os.kill(launcher, signal.SIGKILL)
        _, said = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert "The launcher ended" in said
        assert not alive(pages)


@pytest.mark.parametrize("setting", ["PORT", "FRONTEND_PORT"])
def test_port_in_use_is_reported_and_leaves_no_process(tmp_path: Path, setting: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        together(tmp_path, **{setting: str(taken.getsockname()[1])}) as (process, printed),
    ):
        _, said = process.communicate(timeout=SECONDS)
        assert (process.returncode, printed) == (2, "")
        assert "Address already in use" in said and setting in said
        assert "Traceback" not in said


def test_many_streams_do_not_block_pages(tmp_path: Path) -> None:
    with (
        Launcher(tmp_path / "launcher", SLEEPER) as launcher,
        Frontend(tmp_path / "pages", launcher.url, launcher.secret) as frontend,
        contextlib.ExitStack() as streams,
    ):
        run_id = launcher.run("4711", pipeline="sleeper")["run_id"]
        limits = httpx.Limits(max_connections=None)
        with httpx.Client(base_url=frontend.url, trust_env=False, timeout=SECONDS, limits=limits) as browser:
            sign_in(browser, frontend.password)
            for _ in range(STREAMS):
                stream = streams.enter_context(browser.stream("GET", f"/api/runner/jobs/{run_id}/logs"))
                seen = ""
                for text in stream.iter_text():  # lines arrive while the stream is open
                    seen += text
                    if "data: up" in seen:
                        break
            assert browser.get(f"/api/runner/jobs/{run_id}/status").json()["status"] == "running"
        launcher.client.delete(f"/jobs/{run_id}")


def sign_in(browser: httpx.Client, password: str) -> None:
    token = re.search('name="csrf_token" value="([^"]+)"', browser.get("/login").text)
    assert token
    assert browser.post("/login", data={"password": password, "csrf_token": token[1]}).status_code == 303


DEPLOYED = {"FRONTEND_PASSWORD": "open sesame, please", "RUNNER_API_SECRET": "s" * 32}


def statuses(environment: dict[str, str], *callers: str) -> list[int]:
    """Ten wrong passwords from each of these addresses, which the proxy reports."""
    app = create_app(environment, "0.0.0.0")
    app.extensions["attempts"] = AttemptsInMemory(lambda: 0.0)  # in one window for the whole test
    browser, found = app.test_client(), []
    for caller in callers:
        for _ in range(10):
            with browser.session_transaction(base_url="https://localhost") as session:
                session["csrf"] = "token"
            answer = browser.post(
                "/login",
                data={"password": "guess", "csrf_token": "token"},
                headers={"X-Forwarded-For": caller},
                base_url="https://localhost",
            )
            found.append(answer.status_code)
    return found


def test_visitors_are_distinguished_only_by_a_trusted_proxy() -> None:
    assert read_config(DEPLOYED | {"VERCEL": "1", "MONGODB_URI": "mongodb://db"}, "0.0.0.0").proxies == 1
    behind = DEPLOYED | {"FRONTEND_PROXIES": "1"}
    assert statuses(behind, "192.0.2.1", "192.0.2.2") == [401] * 20
    assert statuses(DEPLOYED, "192.0.2.1", "192.0.2.2") == [401] * 10 + [429] * 10
    forged = statuses(behind, "198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.1")
    assert forged == [401] * 10 + [429] * 10


def test_other_host_names_are_rejected_without_a_password() -> None:
    browser = create_app({"SLIPWAY_ENV": "development"}, "127.0.0.1").test_client()
    assert browser.get("/login", base_url="http://rebound.example").status_code == 400
    assert browser.get("/login", base_url="http://localhost:3000").status_code != 400
    named = create_app(DEPLOYED | {"FRONTEND_HOSTS": "app.example, .apps.example"}, "0.0.0.0").test_client()
    assert named.get("/login", base_url="https://app.example").status_code == 200
    assert named.get("/login", base_url="https://other.example").status_code == 400
