"""The wheel: each part installs with its extra and starts; the command line installs without the services."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from launching.service_process import ROOT

SECONDS = 120
SCRIPTS = ("slipway", "slipway-launcher", "slipway-operator", "slipway-frontend")
SERVICES = (
    "aiohttp",
    "fastapi",
    "flask",
    "gunicorn",
    "kopf",
    "kubernetes",
    "playwright",
    "redis",
    "uvicorn",
)
IMPORT_ALL = """
import importlib, pkgutil, launcher.cli
for module in pkgutil.iter_modules(launcher.cli.__path__, "launcher.cli."):
    importlib.import_module(module.name)
"""


def uv(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("uv")), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    locked = ("--build-constraint", "requirements-build.lock", "--require-hashes")
    uv("build", "--quiet", "--wheel", *locked, "--out-dir", str(folder))
    return next(folder.glob("*.whl"))


def install(folder: Path, wheel: Path, *locks: str, extras: str = "") -> Path:
    """Install the locked packages, then the wheel, which must need no others; return the `bin` folder."""
    python = str(folder / "bin/python")
    uv("venv", "--quiet", "--python", sys.executable, str(folder))
    for lock in locks:
        uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
    offline = ("--offline", "--constraint", "requirements.lock") if locks else ("--constraint", "requirements.lock")
    uv("pip", "install", "--quiet", "--python", python, *offline, f"slipway-runs{extras} @ {wheel.as_uri()}")
    return folder / "bin"


def run(script: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | environ
    return subprocess.run(
        [script, *arguments], cwd="/", env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.fixture(scope="module")
def command_line(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("base"), wheel)


@pytest.fixture(scope="module")
def everything(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("all"), wheel, "requirements.lock", extras="[all]")


def test_command_line_installs_without_the_services(command_line: Path) -> None:
    find = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    assert run(command_line / "python", "-c", find, *SERVICES).stdout == "[]\n"
    assert run(command_line / "slipway", "--help").returncode == 0
    imported = run(command_line / "python", "-c", IMPORT_ALL)
    assert imported.returncode == 0, imported.stderr
    token = run(command_line / "slipway", "token", RUNNER_API_SECRET="s" * 32)
    assert (token.returncode, token.stdout.count(".")) == (0, 2), token.stderr


@pytest.mark.parametrize(
    ("script", "extra"),
    [
        ("slipway-launcher serve", "launcher"),
        ("slipway-operator", "operator"),
        ("slipway-frontend", "frontend,serve"),
    ],
)
def test_missing_service_says_which_extra_installs_it(command_line: Path, script: str, extra: str) -> None:
    name, *arguments = script.split()
    done = run(command_line / name, *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert f"slipway-runs[{extra}]" in done.stderr


def test_every_command_starts_from_the_wheel(everything: Path) -> None:
    for script in SCRIPTS:
        done = run(everything / script, "--help")
        assert (done.returncode, "usage:" in done.stdout.lower()) == (0, True), (script, done.stderr)


@contextmanager
def started(script: Path, folder: Path, *arguments: str, **environ: str) -> Iterator[str]:
    """Run a service in an empty folder while the block runs; yield its URL, the last word of its first line."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | environ
    with subprocess.Popen(
        [script, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def test_launcher_and_front_end_serve_from_the_wheel(everything: Path, tmp_path: Path) -> None:
    secret = secrets.token_hex(32)
    settings = {"RUNNER_API_SECRET": secret, "PORT": "0", "PIPELINE_DIR": str(ROOT / "pipeline-image")}
    credentials = {"RUNNER_API_SECRET": secret, "FRONTEND_PASSWORD": "open sesame, please"}
    with (
        started(everything / "slipway-launcher", tmp_path, "serve", "--quiet", **settings) as launcher,
        started(everything / "slipway-frontend", tmp_path, "--port=0", RUNNER_URL=launcher, **credentials) as pages,
        httpx.Client(trust_env=False, timeout=30) as client,
    ):
        assert client.get(f"{launcher}/health").json()["status"] == "healthy"
        page = client.get(f"{pages}/login")
        assert (page.status_code, "csrf_token" in page.text) == (200, True)
        assert client.get(f"{pages}/static/style.css").headers["Content-Type"].startswith("text/css")
        listed = run(everything / "slipway", "ps", "--json", RUNNER_URL=launcher, RUNNER_API_SECRET=secret)
        assert json.loads(listed.stdout)["total"] == 0


def test_lock_of_the_launchers_image_is_complete_for_launcher_and_operator(wheel: Path, tmp_path: Path) -> None:
    scripts = install(tmp_path, wheel, "requirements-launcher.lock", extras="[launcher,operator]")
    for module in ("launcher.serving", "pipeline_operator.serving"):
        imported = run(scripts / "python", "-c", f"import {module}")
        assert imported.returncode == 0, imported.stderr


def test_wheel_contains_only_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {
        *("launcher", "pipeline_operator", "frontend", "slipway_runs")
    }
    for unwanted in ("Dockerfile", "vercel", "requirements.txt", "frontend/README", "__pycache__"):
        assert not [name for name in names if unwanted in name]
