"""`slipway` against a real launcher: commands, JSON, exit codes, restarts, Ctrl-C, hostile lines."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from launcher.cli.client import SPECIFY_ONE_RUN
from launcher.cli.failures import CREDENTIAL_ADVICE, CREDENTIAL_REJECTED
from launcher.cli.follow import CANCEL_QUESTION, RUN_CONTINUES
from launcher.cli.health_checks import RESUME
from launcher.domain.reasons import Reason, sentence
from launcher.version import VERSION
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


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("cli"), PIPELINES, MAX_CONCURRENCY="8") as running:
        yield running


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


def test_commands_launch_follow_show_retry_and_cancel_a_run(launcher: Launcher, tmp_path: Path) -> None:
    followed = slipway(launcher, "run", "4711", "--profile", "senior", "--follow")
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout.startswith("Starting pipeline default for job 4711, profile senior\n")
    assert f"completed: {sentence(Reason.COMPLETED)}" in followed.stderr
    run = answer(launcher, "status", "--job-id", "4711", schema="RunView")
    assert answer(launcher, "status", run["run_id"][:-1], schema="RunView") == run
    assert slipway(launcher, "logs", run["run_id"]).stdout.encode() == launcher.log(run["run_id"])
    assert answer(launcher, "logs", run["run_id"])["text"].encode() == launcher.log(run["run_id"])
    assert "cv_md_url" in answer(launcher, "artifacts", "list", run["run_id"])["artifacts"]
    assert "CV.md" in slipway(launcher, "artifacts", "list", run["run_id"]).stdout.splitlines()
    got = answer(launcher, "artifacts", "get", run["run_id"], "CV.md", "--to", str(tmp_path))
    assert Path(got["files"][0]).read_text().startswith("#")
    again = answer(launcher, "retry", run["run_id"], schema="RunView")
    assert again["run_id"] != run["run_id"]
    assert (again["job_id"], again["profile_ref"]) == ("4711", "senior")
    asleep = answer(launcher, "run", "z", "--pipeline", "sleep", "--param", "a=b", schema="RunView")
    request = launcher.client.get(f"/jobs/{asleep['run_id']}/request").json()
    assert (request["job_id"], request["pipeline"], request["params"]) == ("z", "sleep", {"a": "b"})
    answer(launcher, "cancel", asleep["run_id"], schema="RunView")
    assert slipway(launcher, "logs", "-f", asleep["run_id"]).returncode == 130
    assert answer(launcher, "ps", schema="RunPage")["total"] >= 3


def test_repeated_bulk_with_the_same_key_launches_no_second_run(launcher: Launcher) -> None:
    options = ("--pipeline", "hello", "--key", "once")
    first = answer(launcher, "run-bulk", "b1", *options, schema="BulkView")
    both = answer(launcher, "run-bulk", "--file", "-", *options, schema="BulkView", input="b1\n\nb2\n")
    assert both["run_ids"][0] == first["run_ids"][0]
    assert both["accepted"] == 2
    refused = slipway(launcher, "run-bulk", "b3", "-F", "-", "--pipeline", "hello", input="\x07\n")
    assert (refused.returncode, "1 accepted, 1 refused" in refused.stderr) == (65, True)


def test_advice_on_a_wrong_secret_is_given_once(launcher: Launcher) -> None:
    wrong = {"RUNNER_API_SECRET": "wrong-but-long-enough-to-be-a-secret"}
    assert slipway(launcher, "ps", **wrong).stderr == f"{CREDENTIAL_REJECTED} {CREDENTIAL_ADVICE}\n"
    doctor = slipway(launcher, "doctor", PATH="/nowhere", **wrong).stdout
    assert f"fail  credential: {CREDENTIAL_REJECTED}\n      {CREDENTIAL_ADVICE}\n" in doctor
    assert doctor.count(CREDENTIAL_ADVICE) == 1


def test_ps_shows_which_item_and_pipeline_were_requested_and_when(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("an item", pipeline="hello")["run_id"], SECONDS)["run_id"]
    listed = slipway(launcher, "ps", "--job-id", "an item")
    requested = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"{run_id}  an item  hello +{requested} +completed: .*\n", listed.stdout)
    assert re.match(r"RUN +JOB +PIPELINE +REQUESTED \(UTC\) +STATUS\n1 of 1 run\n", listed.stderr)
    none = slipway(launcher, "ps", "--job-id", "nothing")
    assert (none.stdout, none.stderr) == ("", "0 of 0 runs\n")


@pytest.mark.parametrize(
    ("after", "lines"), [(0, slice(0, None)), (1, slice(1, None)), (2, slice(2, None)), (9, slice(9, 9))]
)
def test_logs_skips_lines_without_following_too(launcher: Launcher, after: int, lines: slice) -> None:
    run_id = launcher.wait(launcher.run("skip", pipeline="progress")["run_id"], SECONDS)["run_id"]
    whole = launcher.log(run_id).decode().splitlines(keepends=True)
    assert slipway(launcher, "logs", run_id, "--after", str(after)).stdout == "".join(whole[lines])


def test_version_is_printed_without_a_launcher(launcher: Launcher) -> None:
    assert slipway(launcher, "--version", RUNNER_URL="http://127.0.0.1:9").stdout == f"slipway {VERSION}\n"


def test_followed_run_determines_the_exit_code(launcher: Launcher) -> None:
    assert slipway(launcher, "run", "t", "--pipeline", "three", "--follow").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "message"),
    [
        (["status", "nobody"], {}, 65, "Run nobody not found"),
        (["status"], {}, 65, SPECIFY_ONE_RUN),
        (["status", "some", "--job-id", "4711"], {}, 65, SPECIFY_ONE_RUN),
        (["status", "../health"], {}, 65, "is not a valid run id"),
        (["ps"], {"RUNNER_API_SECRET": "wrong"}, 77, CREDENTIAL_REJECTED),
        (["ps"], {"RUNNER_URL": "http://127.0.0.1:9"}, 69, "slipway doctor"),
        (["ps"], {"RUNNER_URL": "ftp:/x"}, 65, "RUNNER_URL"),
        (["ps"], {"RUNNER_API_SECRET": "ü\n"}, 65, "RUNNER_API_SECRET"),
        (["run", "x", "--pipeline", "none"], {}, 65, "pipeline"),
        (["doctor"], {"RUNNER_API_SECRET": "wrong"}, 1, ""),
        (["token"], {"RUNNER_API_SECRET": ""}, 65, "is not set"),
    ],
)
def test_failure_has_a_message_and_an_exit_code(
    launcher: Launcher, arguments: list[str], environ: dict[str, str], code: int, message: str
) -> None:
    done = slipway(launcher, *arguments, **environ)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "status"),
    [
        (["status", "nobody"], {}, 65, None),
        (["run", "x", "--pipeline", "none"], {}, 65, 422),
        (["ps"], {"RUNNER_API_SECRET": "wrong"}, 77, 401),
        (["ps"], {"RUNNER_URL": "http://127.0.0.1:9"}, 69, None),
        (["logs", "-f", "nobody"], {}, 65, None),
        (["artifacts", "get", "nobody"], {}, 65, None),
        (["token"], {"RUNNER_API_SECRET": ""}, 65, None),
        (["pause"], {"RUNNER_URL": "http://127.0.0.1:9"}, 69, None),
        (["ps", "--limit", "many"], {}, 2, None),
        (["no-such-command"], {}, 2, None),
    ],
)
def test_failure_with_json_is_a_problem(
    launcher: Launcher, arguments: list[str], environ: dict[str, str], code: int, status: int | None
) -> None:
    done = slipway(launcher, *arguments, "--json", **environ)
    problem = json.loads(done.stderr)
    check_schema("problem", problem)
    assert (done.returncode, problem["exit_code"], problem["status"], done.stdout) == (code, code, status, "")


def test_followed_run_with_json_prints_one_event_per_line(launcher: Launcher) -> None:
    done = slipway(launcher, "run", "e", "--pipeline", "progress", "--follow", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for event in events:
        check_schema("event", event)
    assert done.returncode == 0
    assert [event["text"] for event in events if event["event"] == "line"][1:] == ["one", "two"]
    assert {"status", "progress", "end"} <= {event["event"] for event in events}


def test_large_log_is_printed_in_little_memory(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("big", pipeline="big")["run_id"], SECONDS)["run_id"]
    for arguments in (("logs", run_id), ("logs", run_id, "--json")):
        limited = ["bash", "-c", 'ulimit -v "$1"; shift; exec "$@"', "bash", str(160 << 10), *command(*arguments)]
        with subprocess.Popen(
            limited, cwd=ROOT, env=environment(launcher, MALLOC_ARENA_MAX="1"), stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            printed = 0
            while piece := process.stdout.read(1 << 20):
                printed += len(piece)
            assert process.wait(SECONDS) == 0
        assert printed > BIG_BYTES


def test_token_is_limited_to_its_scopes(launcher: Launcher) -> None:
    token = answer(launcher, "token", "--scope", "read")["token"]
    assert slipway(launcher, "ps", RUNNER_API_SECRET=token).returncode == 0
    assert slipway(launcher, "pause", RUNNER_API_SECRET=token).returncode == 77
    run_id = launcher.run("r", pipeline="hello", params={"key": "hidden"})["run_id"]
    refused = slipway(launcher, "retry", run_id, RUNNER_API_SECRET=token)
    assert (refused.returncode, "hidden" in refused.stdout + refused.stderr) == (77, False)
    assert "is a token" in slipway(launcher, "token", RUNNER_API_SECRET=token).stderr


def test_doctor_reports_a_paused_queue(launcher: Launcher) -> None:
    assert answer(launcher, "pause") == {"paused": True}
    done = json.loads(slipway(launcher, "doctor", "--json", PATH="/nowhere").stdout)
    assert answer(launcher, "resume") == {"paused": False}
    checks = {each["check"]: each for each in done["checks"]}
    assert done["healthy"]
    assert (checks["queue"]["state"], checks["queue"]["do"]) == ("warn", RESUME)
    assert (checks["credential"]["state"], checks["cluster"]["state"]) == ("ok", "skip")


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


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_followed_line_is_printed_to_a_pipe_only_when_it_is_complete(launcher: Launcher, as_json: list[str]) -> None:
    done = slipway(launcher, "run", "piped", "--pipeline", "redraws", "--follow", *as_json)
    output = done.stdout + done.stderr
    assert (done.returncode, "partial" in output, output.count(" %")) == (0, False, 1), output
    assert "100 %" in done.stdout


def test_log_keeps_its_bytes_in_a_pipe_and_shows_last_frames_in_a_terminal(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("whole", pipeline="redraws")["run_id"])["run_id"]
    raw = subprocess.run(command("logs", run_id), cwd=ROOT, env=environment(launcher), capture_output=True, check=True)
    assert raw.stdout == launcher.log(run_id)
    assert b"a\rwhole line\n\r  0 %\r  4 %" in raw.stdout
    _, shown = in_a_terminal(launcher, "logs", run_id)
    assert [line.strip() for line in shown.decode().splitlines()][1:] == ["whole line", "100 %"]


@pytest.mark.parametrize(
    "job_id",
    ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👩\u200d👩\u200d👧", "🏴\U000e0067\U000e0062\U000e007f"],
)
def test_job_id_with_joined_characters_is_launched_and_found(launcher: Launcher, job_id: str) -> None:
    run = answer(launcher, "run", job_id, "--pipeline", "hello")
    assert run["job_id"] == job_id
    assert answer(launcher, "status", "--job-id", job_id)["run_id"] == run["run_id"]
    assert answer(launcher, "ps", "--job-id", job_id)["total"] == 1


@pytest.mark.parametrize(
    ("arguments", "input_bytes"),
    [
        (["run", "a\udcff"], b""),
        (["run", "a", "--param", "x=\udcff"], b""),
        (["status", "--job-id", "\udcff"], b""),
        (["status", "\udcff"], b""),
        (["run", "a", "--key", "é"], b""),
        (["run-bulk", "-F", "-"], b"a\xff\n"),
    ],
)
def test_invalid_text_is_refused_with_a_message(launcher: Launcher, arguments: list[str], input_bytes: bytes) -> None:
    done = subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(launcher), input=input_bytes, capture_output=True, check=False
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (65, False), done.stderr
    assert done.stderr.strip()


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
        while time.monotonic() < deadline and (piece := os.read(terminal, 65536)):
            shown += piece
            while waiting and (found := shown.find(waiting[0][0], at)) >= 0:
                at = found + len(waiting[0][0])
                os.write(terminal, waiting.pop(0)[1])
    if time.monotonic() >= deadline:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown
