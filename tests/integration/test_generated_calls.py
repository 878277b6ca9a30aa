"""Requests generated from the OpenAPI document: none causes a server error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from launching.launcher import Launcher


def test_generated_requests_cause_no_server_error(tmp_path: Path) -> None:
    schemathesis = Path(sys.executable).with_name("schemathesis")
    pipelines = {"default": {"command": ["python", "-c", "print('hello')"], "artifacts": {}}}
    with Launcher(tmp_path, pipelines, MAX_QUEUED="20") as launcher:
        launcher.client.post("/queue/pause")
        done = subprocess.run(
            [
                *(schemathesis, "run", f"{launcher.url}/openapi.json"),
                *("--header", f"Authorization: Bearer {launcher.secret}"),
                *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
                *("--max-examples", "15", "--seed", "7", "--no-color", "--request-timeout", "10"),
                *("--exclude-path", "/jobs/{run_id}/logs"),  # endless by design while the queue is paused
                *("--exclude-path-regex", "^/queue/"),
                *("--generation-database", ":memory:"),
            ],
            cwd=tmp_path,
            env={"PATH": launcher.environment["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert re.search(r"[0-9]{3,} generated", done.stdout), "too few requests were generated"
        assert launcher.client.get("/readyz").status_code == 200
