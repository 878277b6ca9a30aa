"""`make run` as a new user sees it: log, progress, artifacts, exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from launching.service_process import INHERITED, ROOT

SECONDS = 60
COMMAND = [sys.executable, "-m", "launcher.main", "demo"]


def environment(tmp_path: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    folders = {"ARCHIVE_DIR": str(tmp_path / "archive"), "APPLICATIONS_DIR": str(tmp_path / "applications")}
    return inherited | folders


def demo(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(tmp_path) | environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_first_run_shows_its_log_and_the_artifacts_folder(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Starting pipeline default for job 4711"
    assert not [line for line in lines if "::progress::" in line or "\x1b" in line]
    assert "[2/8] Reading the posting" in done.stderr
    assert done.stderr.count("completed: ") == 1 and "log complete" in done.stderr
    folder = Path(lines[-1].removeprefix("The artifacts are in "))
    assert folder.is_relative_to(tmp_path / "applications")
    assert {"CV.docx", "CV.md", "cover_letter.txt", "dossier.txt"} <= {path.name for path in folder.iterdir()}
    assert all(path.stat().st_size for path in folder.iterdir())


def test_failed_run_makes_the_command_fail(tmp_path: Path) -> None:
    done = demo(tmp_path, "--job-id", "999")
    assert done.returncode == 3  # the run's own exit code
    assert "Posting '999' not found" in done.stdout
    assert "failed: Posting not found." in done.stderr


def test_refused_request_and_invalid_settings_are_reported_without_a_traceback(tmp_path: Path) -> None:
    refused = demo(tmp_path, "--job-id", "")
    assert (refused.returncode, "job_id" in refused.stderr) == (65, True)
    invalid = demo(tmp_path, MAX_CONCURRENCY="none")
    assert invalid.returncode == 2
    assert "MAX_CONCURRENCY" in invalid.stderr
    assert "Traceback" not in refused.stderr + invalid.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_the_run_and_its_launcher(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, env=environment(tmp_path), stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Using the profile" in line:
                break
        launchers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert launchers and not any(Path(f"/proc/{pid}").exists() for pid in launchers)
    assert ("cancelled: " in errors) == (number == signal.SIGINT)
    assert "Traceback" not in errors


def test_launcher_that_is_killed_during_the_run_is_reported(tmp_path: Path) -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, env=environment(tmp_path), stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Using the profile" in line:
                break
        launcher, *_ = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(launcher), signal.SIGKILL)
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, "The launcher exited with code -9 during the run." in errors) == (69, True), errors
