"""`make run`: starts a launcher, launches one run with the CLI's client, and shows its log and artifacts."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from os.path import commonpath
from pathlib import Path
from urllib.parse import unquote

from launcher.artifacts import ArtifactFolder
from launcher.cli import output
from launcher.cli.client import Client, Run
from launcher.cli.display import TextDisplay
from launcher.cli.failures import Exit, Failure
from launcher.cli.follow import follow
from launcher.launcher_process import LauncherProcess, NotStarted, exit_on_signals, start_launcher

_PATIENCE_SECONDS = 10.0


def run_demo(job_id: str, profile: str | None, samples: Path) -> int:
    """Launch the bundled pipeline for a sample posting, follow its log, and print where its artifacts are.

    Returns the exit code.
    """
    secret = secrets.token_hex(32)
    with exit_on_signals(Exit.CANCELLED):
        try:
            with start_launcher(_environment(os.environ, secret, samples.absolute())) as launcher:
                return _run(launcher, secret, {"job_id": job_id, "profile_ref": profile})
        except NotStarted as exc:
            return exc.exit_code
        except Failure as failure:
            output.note(failure.message)
            return failure.code


def _environment(environ: Mapping[str, str], secret: str, samples: Path) -> dict[str, str]:
    defaults = {
        "ARCHIVE_DIR": "var/demo",  # a launcher that is running here has its own archive
        "POSTINGS_DIR": str(samples / "postings"),
        "MASTER_CV": str(samples / "master-cv.md"),
    }
    return {**defaults, **environ, "RUNNER_API_SECRET": secret, "HOST": "127.0.0.1", "PORT": "0"}


def _run(launcher: LauncherProcess, secret: str, request: dict[str, str | None]) -> int:
    client = Client(launcher.url, secret)
    run_id = client.launch(request)["run_id"]
    try:
        code = follow(client, run_id, TextDisplay(), on_interrupt="cancel", patience_seconds=_PATIENCE_SECONDS)
    except Failure:
        if launcher.process.poll() is None:
            raise
        text = f"The launcher exited with code {launcher.process.returncode} during the run."
        raise Failure(text, Exit.UNREACHABLE) from None
    if paths := _artifact_paths(client.run(run_id)):
        output.say(f"The artifacts are in {commonpath([path.parent for path in paths])}")
    return code


def _artifact_paths(run: Run) -> list[Path]:
    """Return the paths of a run's artifacts on this machine."""
    folder = ArtifactFolder(Path(os.environ.get("APPLICATIONS_DIR", "applications")))
    names = {key: unquote(url.rpartition("/")[2]) for key, url in run["artifacts"].items()}
    try:
        found = asyncio.run(folder.discover(run["run_id"], names))
        return [folder.of(run["run_id"]) / path for path in found.values()]
    finally:
        folder.close()
