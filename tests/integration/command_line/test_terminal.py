"""`slipway` in a terminal: hostile lines, lines that redraw themselves, and Ctrl-C."""

from __future__ import annotations

import re
import subprocess

from launcher.cli.follow import RUN_CONTINUES
from launching.command_line import HOSTILE, QUESTION, answer, command, environment, in_a_terminal, slipway
from launching.launcher import Launcher
from launching.service_process import ROOT


def test_hostile_line_is_unchanged_in_a_pipe_and_escaped_in_a_terminal(launcher: Launcher) -> None:
    piped = slipway(launcher, "run", "h", "--pipeline", "hostile", "--follow")
    assert HOSTILE in piped.stdout
    shown = in_a_terminal(launcher, "run", "h", "--pipeline", "hostile", "--follow")[1]
    assert b"\x1b]0;" not in shown
    assert b"owned" in shown


def test_line_that_redraws_itself_is_shown_live_in_a_terminal(launcher: Launcher) -> None:
    code, shown = in_a_terminal(launcher, "run", "redraws", "--pipeline", "redraws", "--follow")
    frames = [int(found) for found in re.findall(rb"(\d+) %", shown)]
    assert (code, frames[-1]) == (0, 100), shown
    assert len(set(frames)) > 3  # some intermediate frames were shown, too
    assert b"whole line" in shown and "\N{SYMBOL FOR CARRIAGE RETURN}".encode() not in shown


def test_log_keeps_its_bytes_in_a_pipe_and_shows_last_frames_in_a_terminal(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("whole", pipeline="redraws")["run_id"])["run_id"]
    raw = subprocess.run(command("logs", run_id), cwd=ROOT, env=environment(launcher), capture_output=True, check=True)
    assert raw.stdout == launcher.log(run_id)
    assert b"a\rwhole line\n\r  0 %\r  4 %" in raw.stdout
    _, shown = in_a_terminal(launcher, "logs", run_id)
    assert [line.strip() for line in shown.decode().splitlines()][1:] == ["whole line", "100 %"]


def test_ctrl_c_asks_and_cancels_the_run(launcher: Launcher) -> None:
    code, shown = in_a_terminal(
        launcher,
        "run",
        "c",
        "--pipeline",
        "sleep",
        "-f",
        presses=[(b"up", b"\x03"), (QUESTION, b"y\n")],
    )
    assert code == 130, shown


def test_ctrl_c_answered_with_no_keeps_the_run_and_shows_how_to_follow_it(launcher: Launcher) -> None:
    code, shown = in_a_terminal(
        launcher,
        "run",
        "c4",
        "--pipeline",
        "sleep",
        "-f",
        presses=[(b"up", b"\x03"), (QUESTION, b"n\n")],
    )
    run = answer(launcher, "status", "--job-id", "c4")
    assert (code, run["status"]) == (75, "running")
    assert f"slipway logs -f {run['run_id']}".encode() in shown.replace(b"\r\n", b" ")
    launcher.client.delete(f"/jobs/{run['run_id']}")


def test_second_ctrl_c_keeps_the_run(launcher: Launcher) -> None:
    code, shown = in_a_terminal(
        launcher,
        "run",
        "c2",
        "--pipeline",
        "sleep",
        "-f",
        presses=[(b"up", b"\x03"), (QUESTION, b"\x03")],
    )
    assert (code, RUN_CONTINUES.encode() in shown) == (75, True), shown
    run = answer(launcher, "status", "--job-id", "c2")
    assert run["status"] == "running"
    launcher.client.delete(f"/jobs/{run['run_id']}")
