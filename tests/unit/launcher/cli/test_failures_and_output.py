"""Exit codes, messages and hostile text."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.cli.client import Client
from launcher.cli.failures import Exit, Failure, exit_code_of, failure_of
from launcher.cli.output import harmless, plain


@pytest.mark.parametrize(
    ("run", "code"),
    [
        ({"status": "completed", "exit_code": 0}, 0),
        ({"status": "failed", "exit_code": 3}, 3),
        ({"status": "failed", "exit_code": None}, 1),
        ({"status": "failed", "exit_code": 0}, 1),
        ({"status": "failed", "exit_code": 256}, 1),
        ({"status": "cancelled", "exit_code": 0}, 130),
    ],
)
def test_exit_code_follows_from_the_run(run: dict[str, Any], code: int) -> None:
    assert exit_code_of(run) == code


@pytest.mark.parametrize(
    ("status", "code"), [(401, 77), (403, 77), (404, 65), (409, 65), (422, 65), (429, 75), (503, 75), (500, 1)]
)
def test_a_problem_becomes_a_message_and_an_exit_code(status: int, code: int) -> None:
    failure = failure_of(status, {"detail": "Something happened."}, "10")
    assert (failure.message.startswith("Something happened."), failure.code) == (True, code)
    assert ("10 seconds" in failure.message) == (code == Exit.LATER)


def test_a_terminal_gets_colors_and_visible_control_characters() -> None:
    assert harmless("\x1b[31mred\x1b[0m\tx") == "\x1b[31mred\x1b[0m\tx\x1b[0m"
    assert harmless("a\x1b]0;title\x07b\x9b2J\x08\u202e\x7f") == "a␛]0;title␇b\\u009b2J␈\\u202e␡"
    assert harmless("plain ü") == "plain ü"
    assert plain("\x1b[31mred\n") == "␛[31mred␊"


@pytest.mark.parametrize("path", ["http://elsewhere.example.com/x", "//elsewhere.example.com/x", "x"])
def test_the_credential_is_sent_to_no_other_host(path: str) -> None:
    client = Client("http://127.0.0.1:1", "secret")
    with pytest.raises(Failure, match="not a path on the launcher"):
        list(client.download(path))
