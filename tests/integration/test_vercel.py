"""The folder `frontend` as on Vercel: alone, under another name, with only its requirements.txt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from launching.service_process import ROOT

SECONDS = 120
SERVE = """
import index
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, index.app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the folder, and a Python with the packages that Vercel installs."""
    directory = tmp_path_factory.mktemp("vercel")
    task, python = directory / "task", directory / "venv/bin/python"
    uv = str(Path(sys.executable).with_name("uv"))
    ignored = (ROOT / "frontend/.vercelignore").read_text().split()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "frontend"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        target = task / Path(name).relative_to("frontend")
        if target.name not in ignored:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    install = ["pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", "requirements.txt"]
    for arguments in (["venv", "--quiet", "--python", sys.executable, str(python.parents[1])], install):
        subprocess.run([uv, *arguments], cwd=task, check=True, timeout=SECONDS)
    return task, python


@pytest.fixture
def served(function: tuple[Path, Path]) -> Iterator[httpx.Client]:
    task, python = function
    environment = {
        "VERCEL": "1",
        "FRONTEND_PASSWORD": "open sesame, please",
        "RUNNER_API_SECRET": "s" * 32,
        "RUNNER_URL": "http://127.0.0.1:9",
        "MONGODB_URI": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200",
    }
    with subprocess.Popen(
        [python, "-Bc", SERVE], cwd=task, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
                yield client
        finally:
            process.kill()


def test_function_serves_pages_static_files_and_calls(served: httpx.Client) -> None:
    page = served.get("/login", headers={"X-Forwarded-Proto": "https"})
    assert page.status_code == 200 and "csrf_token" in page.text
    assert "Secure" in page.headers["Set-Cookie"]
    assert served.get("/static/style.css").headers["Content-Type"].startswith("text/css")
    assert served.get("/").headers["Location"] == "/login"
    assert served.get("/api/runner/jobs/some-run/status").status_code == 401


def test_function_requires_a_password(function: tuple[Path, Path]) -> None:
    task, python = function
    done = subprocess.run(
        [python, "-Bc", "import index"], cwd=task, env={"VERCEL": "1"}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode != 0
    assert "FRONTEND_PASSWORD is not set" in done.stderr and "MONGODB_URI is not set" in done.stderr
