"""One run from launch to artifacts, as a caller sees it: starts a launcher of its own and speaks REST and SSE to it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import typer
from httpx_sse import ServerSentEvent, connect_sse
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from launcher.artifacts import ArtifactFolder

_READY = "Slipway serves on "
_PATIENCE = httpx.Timeout(10, read=120)


def show_one_run(job_id: str, profile: str | None, samples: Path) -> bool:
    """Launch one run of the bundled pipeline for a sample posting, follow it, and show what it made; say if it did."""
    console = Console(soft_wrap=True, highlight=False)
    with _launcher(samples.absolute()) as client:
        answer = client.post("/jobs/run", json={"job_id": job_id, "profile_ref": profile})
        if answer.is_error:
            console.print(answer.json()["detail"], style="red", markup=False)
            return False
        run = _follow(client, answer.json()["run_id"], console)
        _show(run, console)
    return bool(run["status"] == "completed")


@contextmanager
def _launcher(samples: Path) -> Iterator[httpx.Client]:
    secret = secrets.token_hex(32)
    environment = {
        **os.environ,
        "RUNNER_API_SECRET": secret,
        "PORT": "0",
        "HOST": "127.0.0.1",
        "ARCHIVE_DIR": os.environ.get("ARCHIVE_DIR", "var/demo"),  # a launcher that serves here keeps its own
        "POSTINGS_DIR": os.environ.get("POSTINGS_DIR", str(samples / "postings")),
        "MASTER_CV": os.environ.get("MASTER_CV", str(samples / "master-cv.md")),
    }
    command = [sys.executable, "-m", "launcher.main", "serve", "--quiet"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline().strip()
            if not first.startswith(_READY):
                raise typer.Exit(process.wait() or 1)
            url = first.removeprefix(_READY)
            with httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=_PATIENCE, trust_env=False
            ) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _follow(client: httpx.Client, run_id: str, console: Console) -> dict[str, Any]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=console
    )
    with bar if console.is_terminal else console, connect_sse(client, "GET", f"/jobs/{run_id}/logs") as stream:
        task = bar.add_task(run_id, total=None)
        for event in stream.iter_sse():
            document = _document(event)
            if event.event == "message":
                console.print(event.data, markup=False)
            elif event.event == "progress":
                bar.update(task, total=document["of"], completed=document["step"] - 1, description=document["label"])
                if not console.is_terminal:
                    console.print(f"[{document['step']}/{document['of']}] {document['label']}", markup=False)
            elif event.event == "gap":
                console.print(f"[lines {document['from']} to {document['to']}: {document['why']}]", markup=False)
            elif event.event == "end":
                task_total = bar.tasks[0].total
                bar.update(task, completed=task_total, description=str(document["status"]))
                return document
    raise httpx.RemoteProtocolError("The stream ended before the run did.")


def _document(event: ServerSentEvent) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(event.data) if event.event != "message" else {}
    return document


def _show(run: dict[str, Any], console: Console) -> None:
    log = run["log"]
    console.print(f"\n{run['status']}: {run['message']}", markup=False)
    console.print(f"log {'complete' if log['complete'] else 'incomplete'}, {log['lines']} lines", markup=False)
    if run["artifacts"]:
        console.print("artifacts:")
    folder = ArtifactFolder(Path(os.environ.get("APPLICATIONS_DIR", "applications")))
    names = {key: unquote(url.rpartition("/")[2]) for key, url in run["artifacts"].items()}
    for path in asyncio.run(folder.discover(run["run_id"], names)).values():
        console.print(f"  {folder.of(run['run_id']) / path}", markup=False)
    folder.close()
