"""The commands of `slipway` against a real launcher, for people and as JSON."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from launcher.cli.health_checks import RESUME
from launcher.domain.reasons import Reason, sentence
from launcher.version import VERSION
from launching.command_line import BIG_BYTES, SECONDS, answer, command, environment, slipway
from launching.launcher import Launcher
from launching.service_process import ROOT


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


@pytest.mark.parametrize(
    "job_id",
    ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👩\u200d👩\u200d👧", "🏴\U000e0067\U000e0062\U000e007f"],
)
def test_job_id_with_joined_characters_is_launched_and_found(launcher: Launcher, job_id: str) -> None:
    run = answer(launcher, "run", job_id, "--pipeline", "hello")
    assert run["job_id"] == job_id
    assert answer(launcher, "status", "--job-id", job_id)["run_id"] == run["run_id"]
    assert answer(launcher, "ps", "--job-id", job_id)["total"] == 1
