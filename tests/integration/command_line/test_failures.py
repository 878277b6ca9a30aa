"""A command that fails has a message and an exit code, and with --json a problem."""

from __future__ import annotations

import json
import subprocess

import pytest

from launcher.cli.client import SPECIFY_ONE_RUN
from launcher.cli.failures import CREDENTIAL_ADVICE, CREDENTIAL_REJECTED
from launching.command_line import check_schema, command, environment, slipway
from launching.launcher import Launcher
from launching.service_process import ROOT


def test_advice_on_a_wrong_secret_is_given_once(launcher: Launcher) -> None:
    wrong = {"RUNNER_API_SECRET": "wrong-but-long-enough-to-be-a-secret"}
    assert slipway(launcher, "ps", **wrong).stderr == f"{CREDENTIAL_REJECTED} {CREDENTIAL_ADVICE}\n"
    doctor = slipway(launcher, "doctor", PATH="/nowhere", **wrong).stdout
    assert f"fail  credential: {CREDENTIAL_REJECTED}\n      {CREDENTIAL_ADVICE}\n" in doctor
    assert doctor.count(CREDENTIAL_ADVICE) == 1


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
