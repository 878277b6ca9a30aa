"""Following a run in a pipe: every line once, its exit code, and an interrupt."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from launcher.cli.follow import RUN_CONTINUES
from launching.command_line import PIPELINES, SECONDS, answer, check_schema, command, environment, slipway
from launching.launcher import Launcher
from launching.service_process import ROOT


def test_followed_run_determines_the_exit_code(launcher: Launcher) -> None:
    assert slipway(launcher, "run", "t", "--pipeline", "three", "--follow").returncode == 3


def test_followed_run_with_json_prints_one_event_per_line(launcher: Launcher) -> None:
    done = slipway(launcher, "run", "e", "--pipeline", "progress", "--follow", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for event in events:
        check_schema("event", event)
    assert done.returncode == 0
    assert [event["text"] for event in events if event["event"] == "line"][1:] == ["one", "two"]
    assert {"status", "progress", "end"} <= {event["event"] for event in events}


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_followed_line_is_printed_to_a_pipe_only_when_it_is_complete(launcher: Launcher, as_json: list[str]) -> None:
    done = slipway(launcher, "run", "piped", "--pipeline", "redraws", "--follow", *as_json)
    output = done.stdout + done.stderr
    assert (done.returncode, "partial" in output, output.count(" %")) == (0, False, 1), output
    assert "100 %" in done.stdout


def test_every_line_is_printed_once_across_a_launcher_restart(tmp_path: Path) -> None:
    with Launcher(tmp_path, PIPELINES) as launcher:
        run_id = launcher.run("s", pipeline="slow")["run_id"]
        with subprocess.Popen(
            command("logs", "-f", run_id),
            cwd=ROOT,
            env=environment(launcher),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # `communicate` would miss lines that a buffer has read ahead
        ) as follower:
            assert follower.stdout is not None
            seen = [follower.stdout.readline() for _ in range(40)]
            launcher.kill()
            launcher.start()
            rest, _ = follower.communicate(timeout=SECONDS)
        kept = launcher.log(run_id).splitlines(keepends=True)
        assert launcher.status(run_id)["reason"] == "LauncherLost"
        assert follower.returncode == 1
    printed = seen + rest.splitlines(keepends=True)
    numbered = [line for line in kept if line.startswith(b"line ")]
    assert [line for line in printed if line.startswith(b"line ")] == numbered


def test_interrupt_without_a_terminal_keeps_the_run_and_reports_it(launcher: Launcher) -> None:
    with subprocess.Popen(
        command("run", "c3", "--pipeline", "sleep", "-f"),
        cwd=ROOT,
        env=environment(launcher),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as follower:
        assert follower.stdout is not None
        while b"up" not in follower.stdout.readline():
            assert follower.poll() is None
        follower.send_signal(signal.SIGINT)
        _, errors = follower.communicate(timeout=SECONDS)
    assert (follower.returncode, RUN_CONTINUES.encode() in errors) == (75, True), errors
    launcher.client.delete(f"/jobs/{answer(launcher, 'status', '--job-id', 'c3')['run_id']}")
