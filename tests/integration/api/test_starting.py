"""Starting: errors are reported in a few lines that name the setting, never as a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launching.launcher import Launcher
from launching.service_process import ROOT

REFUSE_SECONDS = 15.0


def refusal(directory: Path, **environment: str | None) -> str:
    """Start a launcher that cannot start; return its output."""
    launcher = Launcher(directory, None, **environment)
    launcher.client.close()
    done = subprocess.run(
        [sys.executable, "-m", "launcher.main", "serve", "--quiet"],
        cwd=ROOT,
        env=launcher.environment,
        capture_output=True,
        text=True,
        timeout=REFUSE_SECONDS,
        check=False,
    )
    assert launcher.secret not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert done.returncode == 2
    return done.stderr


def test_all_errors_are_reported_at_once_with_how_to_make_a_secret(tmp_path: Path) -> None:
    output = refusal(
        tmp_path,
        RUNNER_API_SECRET=None,
        PORT="no port",
        MAX_CONCURRENCY="0",
        RETENTION_DAYS="-1",
        PIPELINES_FILE="/no/such/file.yaml",
        PIPELINE_DIR="/no/such/folder",
    )
    for name in ("RUNNER_API_SECRET", "PORT", "MAX_CONCURRENCY", "RETENTION_DAYS", "PIPELINES_FILE", "PIPELINE_DIR"):
        assert output.count(f"  {name}") == 1, output
    assert "openssl rand -hex 32" in output


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SLIPWAY_ENV": "prod"}, "SLIPWAY_ENV"),
        ({"SLIPWAY_ENV": "development", "RUNNER_API_SECRET": None, "HOST": "0.0.0.0"}, "RUNNER_API_SECRET"),
        ({"RUNNER_API_SECRET_PREVIOUS": "short"}, "RUNNER_API_SECRET_PREVIOUS"),
        ({"HOST": "no.such.host.invalid"}, "HOST"),
        ({"ARCHIVE_DIR": "{file}"}, "ARCHIVE_DIR"),
        ({"ARCHIVE_DIR": "{file}/below"}, "ARCHIVE_DIR"),
        ({"ARCHIVE_DIR": "/proc/no/such"}, "ARCHIVE_DIR"),
        ({"APPLICATIONS_DIR": "{file}"}, "APPLICATIONS_DIR"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:p@ss#1@host:6379/5"}, "REDIS_URL: percent-encode"),
        ({"REDIS_URL": "redis://host:port/5"}, "REDIS_URL: the port"),
        ({"MONGODB_URI": "mongodb://user:p@ss@host/"}, "MONGODB_URI: percent-encode"),
        ({"MONGODB_URI": "mongodb+srv://user:p@ss@host.example.net/"}, "MONGODB_URI: percent-encode"),
        (
            {"MONGODB_URI": "mongodb+srv://host.example.net:27017/"},
            "MONGODB_URI: mongodb+srv:// does not accept a port",
        ),
        ({"MONGODB_URI": "mongodb://host/?tls=true&ssl=false"}, "MONGODB_URI: the MongoDB driver rejects"),
        ({"RETENTION_DAYS": "99999999999"}, "RETENTION_DAYS must be a number"),
        ({"CORS_ORIGINS": "your-app.vercel.app"}, "CORS_ORIGINS: an origin starts with"),
        ({"HOST": "no..host"}, "HOST"),
        ({"PIPELINE_DIR": "{file}"}, "PIPELINE_DIR: "),
        ({"OPENAI_API_KEY": "p@ss\n"}, "OPENAI_API_KEY ends with a line break"),
    ],
    ids=lambda value: " ".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_invalid_setting_is_named(tmp_path: Path, environment: dict[str, str | None], named: str) -> None:
    file = tmp_path / "file"
    file.touch()
    output = refusal(
        tmp_path, **{name: text and text.replace("{file}", str(file)) for name, text in environment.items()}
    )
    assert named in output
    assert "p@ss" not in output
    assert len(output.splitlines()) <= 3


READ_ONLY = """
set -e
for each in archive applications; do mkdir -p "$1/$each"; mount --bind -o ro "$1/$each" "$1/$each"; done
shift
exec "$@"
"""


@pytest.mark.skipif(
    not hasattr(os, "getuid") or bool(subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode),
    reason="this user cannot mount",
)
@pytest.mark.parametrize("module", ["launcher.main serve --quiet", "pipeline_operator.main --quiet"])
def test_read_only_folders_are_listed_with_the_other_errors(tmp_path: Path, module: str) -> None:
    launcher = Launcher(tmp_path, None, MAX_CONCURRENCY="0")
    launcher.client.close()
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", tmp_path, sys.executable, "-m", *module.split()],
        cwd=ROOT,
        env=launcher.environment | {"PYTHONPATH": "operator"},
        capture_output=True,
        text=True,
        timeout=REFUSE_SECONDS,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    first, *faults = done.stderr.splitlines()
    assert first == "The settings are not valid:"
    assert [fault.split()[0].rstrip(":") for fault in faults] == ["MAX_CONCURRENCY", "ARCHIVE_DIR", "APPLICATIONS_DIR"]
    assert all("Read-only file system" in fault for fault in faults[1:])


def test_occupied_probe_port_is_one_sentence(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)
    launcher.client.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "pipeline_operator.main", "--quiet"],
            cwd=ROOT,
            env=launcher.environment | {"PYTHONPATH": "operator", "PROBE_PORT": port},
            capture_output=True,
            text=True,
            timeout=REFUSE_SECONDS,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"Cannot listen on 127.0.0.1:{port}: Address already in use")
    assert done.stderr.endswith("(PROBE_HOST, PROBE_PORT)\n") and done.stderr.count("\n") == 1


def test_setting_lost_from_an_unquoted_env_file_is_named(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)
    launcher.client.close()
    lines = [f"{name}='{value}'" for name, value in launcher.environment.items() if name != "PATH"]
    lines += ["MONGODB_URI=mongodb+srv://u:hunter@c.example.net/jobs?retryWrites=true&w=majority", ""]
    (tmp_path / ".env").write_text("\n".join(lines))
    load = 'set -a; . ./.env; set +a; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", load, "sh", sys.executable, "-m", "launcher.main", "serve", "--quiet"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PIPELINE_DIR": str(ROOT / "pipeline-image")},
        capture_output=True,
        text=True,
        timeout=REFUSE_SECONDS,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert (
        f".env:{len(lines) - 1} sets MONGODB_URI to a value that a shell, Compose and systemd read differently"
        in done.stderr
    )
    assert "hunter" not in done.stderr


def test_mistyped_setting_is_only_noted(tmp_path: Path) -> None:
    with Launcher(tmp_path, MAX_CONCURENCY="2") as launcher:
        output = (launcher.directory / "launcher.log").read_text()
    assert "Note: MAX_CONCURENCY is not a setting of Slipway; did you mean MAX_CONCURRENCY?" in output


@pytest.mark.parametrize(
    "text",
    [
        b"- command: [a]",
        b"",
        b"a: {cmd: [a]}",
        b"a: {command: []}",
        b"a: {command: python}",
        b"a: {command: [a], timeout_seconds: 0}",
        b"a: [",
        b"\xff\xfe\0",
        b"1: {command: [a]}",
        b"'a b\\n/..': {command: [a]}",
        b"a: {command: [a], artifacts: {x_url: ../../etc/passwd}}",
    ],
)
def test_invalid_pipelines_file_is_named(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_bytes(text)
    output = refusal(tmp_path, PIPELINES_FILE=str(file))
    assert "PIPELINES_FILE" in output
    assert str(file) in output


def test_development_needs_no_secret_on_loopback(tmp_path: Path) -> None:
    with Launcher(tmp_path, SLIPWAY_ENV="development", RUNNER_API_SECRET=None) as launcher:
        bare = {"Authorization": ""}
        run = launcher.client.post("/jobs/run", json={"job_id": "4711"}, headers=bare).json()
        answer = launcher.client.post(f"/jobs/{run['run_id']}/ticket", headers=bare).json()
        stream = launcher.client.get(answer["logs_url"], headers=bare)
        assert "event: end" in stream.text
        assert (launcher.directory / "launcher.log").read_text().count("launch:") == 1


def test_development_enforces_a_short_secret(tmp_path: Path) -> None:
    with Launcher(tmp_path, SLIPWAY_ENV="development", RUNNER_API_SECRET="short") as launcher:
        assert launcher.client.get("/jobs").status_code == 401  # a different secret
        assert launcher.client.get("/jobs", headers={"Authorization": ""}).status_code == 401
        assert launcher.client.get("/jobs", headers={"Authorization": "Bearer short"}).status_code == 200


def test_archive_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "var/archive/.lock").mkdir(parents=True)
    output = refusal(tmp_path, ARCHIVE_DIR=str(tmp_path / "var/archive"))
    assert output.startswith(f"ARCHIVE_DIR: {tmp_path}/var/archive/.lock cannot be locked: Is a directory")
    assert output.count("\n") == 1


def test_failed_start_exits_with_a_sentence(tmp_path: Path) -> None:
    output = refusal(tmp_path, ENGINE="kubernetes", KUBECONFIG=str(tmp_path / "missing"))
    assert "The launcher cannot start: No cluster is configured: " in output
    assert "set KUBECONFIG" in output


@pytest.mark.skipif(sys.platform != "linux", reason="requires Linux")
def test_other_processes_of_its_user_cannot_inspect_the_launcher(tmp_path: Path) -> None:
    """The kernel makes root the owner of the files in /proc of such a process."""
    code = (
        "import ctypes, os; from launcher.serving import refuse_inspection\n"
        "os.setgid(65534); os.setuid(65534); ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after an exec\n"
        "print(os.stat('/proc/self/environ').st_uid)\n"
        "refuse_inspection()\n"
        "print(os.stat('/proc/self/environ').st_uid)"
    )
    if os.getuid() != 0:
        pytest.skip("Only root can become another user.")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert output.stdout.split() == ["65534", "0"]
