"""`slipway` as a process, with or without a terminal, and pipelines for it to launch."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import Any

import jsonschema_rs

from launcher.cli.follow import CANCEL_QUESTION
from launching.launcher import Launcher
from launching.service_process import INHERITED, ROOT

SECONDS = 60
QUESTION = CANCEL_QUESTION.encode()
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m \u2028x <b>"
BIG_BYTES = 60_000_000
PROGRESS = """
for n, label in enumerate(("one", "two"), 1):
    print('::progress:: {"step": %d, "of": 2, "label": "%s"}' % (n, label))
    print(label)
"""
REDRAWS = """
import sys, time
print('a\\rwhole line')
for n in range(0, 101, 4):
    sys.stdout.write(f'\\r{n:3d} %')
    sys.stdout.flush()
    time.sleep(0.1)
print()
"""
SLOW = "import time\nfor n in range(300): print('line', n, flush=True); time.sleep(0.02)"
PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"command": ["python", "-c", "print('hello')"], "artifacts": {}},
    "three": {"command": ["python", "-c", "raise SystemExit(3)"], "artifacts": {}},
    "hostile": {"command": ["python", "-c", f"print({HOSTILE!r})"], "artifacts": {}},
    "progress": {"command": ["python", "-c", PROGRESS], "artifacts": {}},
    "big": {"command": ["python", "-c", f"print(('x' * 999 + chr(10)) * {BIG_BYTES // 1000})"], "artifacts": {}},
    "slow": {"command": ["python", "-u", "-c", SLOW], "artifacts": {}},
    "redraws": {"command": ["python", "-c", REDRAWS], "artifacts": {}},
    "sleep": {"command": ["python", "-c", "print('up', flush=True); import time; time.sleep(600)"], "artifacts": {}},
}


def environment(launcher: Launcher, **environ: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"RUNNER_URL": launcher.url, "RUNNER_API_SECRET": launcher.secret} | environ


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "launcher.cli.main", *arguments]


def slipway(
    launcher: Launcher, *arguments: str, input: str | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(launcher, **environ),
        input=input,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def check_schema(name: str, document: Any) -> None:
    """Check the output of a command against its documented schema."""
    schema = json.loads((ROOT / "docs/command-line.schema.json").read_text())
    jsonschema_rs.validator_for({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}).validate(document)


def answer(launcher: Launcher, *arguments: str, schema: str | None = None, input: str | None = None) -> Any:
    done = slipway(launcher, *arguments, "--json", input=input)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    check_schema("-".join(arguments[:2]) if arguments[0] == "artifacts" else arguments[0], document)
    if schema:
        openapi = launcher.client.get("/openapi.json").json()
        root = {"$ref": f"#/components/schemas/{schema}", "components": openapi["components"]}
        jsonschema_rs.validator_for(root).validate(document)
    return document


def in_a_terminal(
    launcher: Launcher, *arguments: str, presses: list[tuple[bytes, bytes]] | None = None
) -> tuple[int, bytes]:
    """Run in a pseudo-terminal and press keys after each expected text; return the exit code and the output."""
    waiting = list(presses or [])
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvpe(sys.executable, command(*arguments), environment(launcher, TERM="xterm"))
    shown, at = b"", 0
    deadline = time.monotonic() + SECONDS
    with contextlib.suppress(OSError):  # EIO: the terminal's other end has closed
        while (left := deadline - time.monotonic()) > 0 and select.select([terminal], [], [], left)[0]:
            if not (piece := os.read(terminal, 65536)):
                break
            shown += piece
            while waiting and (found := shown.find(waiting[0][0], at)) >= 0:
                at = found + len(waiting[0][0])
                os.write(terminal, waiting.pop(0)[1])
    if time.monotonic() >= deadline:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown
