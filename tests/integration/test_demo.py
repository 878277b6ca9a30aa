"""`make run`, as a newcomer sees it: its log, its progress, its artifacts, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from launching.launcher import INHERITED, ROOT


def demo(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {"ARCHIVE_DIR": str(tmp_path / "archive"), "APPLICATIONS_DIR": str(tmp_path / "applications")}
    return subprocess.run(
        [sys.executable, "-m", "launcher.main", "demo", *arguments],
        cwd=ROOT,
        env=environment | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_first_run_shows_its_log_and_where_its_artifacts_lie(tmp_path: Path) -> None:
    ended = demo(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "Starting pipeline default for job 4711"
    assert "[2/8] Reading the posting" in lines
    assert not [line for line in lines if "::progress::" in line or "\x1b" in line]
    assert "completed: The pipeline finished successfully." in lines
    artifacts = [Path(line.strip()) for line in lines[lines.index("artifacts:") + 1 :]]
    assert sorted(path.name for path in artifacts) == ["CV.docx", "CV.md", "cover_letter.txt", "dossier.txt"]
    assert all(path.is_relative_to(tmp_path / "applications") and path.stat().st_size for path in artifacts)


def test_a_run_that_fails_makes_the_command_fail(tmp_path: Path) -> None:
    ended = demo(tmp_path, "--job-id", "999")
    assert ended.returncode == 1
    assert "There is no posting '999'" in ended.stdout
    assert "failed: Posting not found." in ended.stdout


def test_what_the_launcher_refuses_is_told_without_a_traceback(tmp_path: Path) -> None:
    refused = demo(tmp_path, "--job-id", "")
    assert (refused.returncode, "job_id" in refused.stdout) == (1, True)
    wrong = demo(tmp_path, MAX_CONCURRENCY="none")
    assert wrong.returncode == 2
    assert "MAX_CONCURRENCY" in wrong.stderr
    assert "Traceback" not in refused.stderr + wrong.stderr
