"""Exit codes, messages and hostile text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from launcher.cli.client import Client
from launcher.cli.failures import CREDENTIAL_REJECTED, Exit, Failure, exit_code_of, failure_of
from launcher.cli.output import after_line, harmless, plain, run_lines, run_table


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
    ("status", "code"), [(403, 77), (404, 65), (409, 65), (422, 65), (429, 75), (503, 75), (500, 1)]
)
def test_a_problem_becomes_a_message_and_an_exit_code(status: int, code: int) -> None:
    failure = failure_of(status, {"detail": "Something happened."}, "10")
    assert (failure.message.startswith("Something happened."), failure.code) == (True, code)
    assert ("10 seconds" in failure.message) == (code == Exit.LATER)


def test_a_rejected_credential_comes_with_its_advice_apart() -> None:
    failure = failure_of(401, {"detail": "Something happened."})
    assert failure.code == Exit.NOT_ALLOWED
    assert (failure.found, failure.message) == (
        CREDENTIAL_REJECTED,
        f"{CREDENTIAL_REJECTED} {failure.do}",
    )


def run(**fields: Any) -> dict[str, Any]:
    since = "2026-11-27T09:32:43.107662Z"
    live = {"message": None, "queue": None, "created_at": since, "started_at": None, "completed_at": None}
    return {"run_id": "a-1", "job_id": "a", "pipeline": "default", "status": "queued", **live, **fields}


def test_a_live_run_says_since_when_to_the_second() -> None:
    assert run_lines(run()) == ["a-1  queued since 2026-11-27 09:32:43 UTC"]
    today = datetime.now(UTC)
    [line] = run_lines(run(status="running", started_at=today.isoformat()))
    assert line == f"a-1  running since {today:%H:%M:%S} UTC"


@pytest.mark.parametrize(("lines", "said"), [(1, "1 line"), (0, "0 lines"), (1234, "1,234 lines")])
def test_the_lines_of_a_log_are_counted(lines: int, said: str) -> None:
    log = {"complete": True, "lines": lines}
    ended = run(status="completed", message="Done.", completed_at="2026-11-27T09:32:44Z", log=log, artifacts={})
    assert run_lines(ended) == ["a-1  completed: Done.", f"log complete, {said}"]


def test_the_columns_of_a_list_fit_wide_and_hostile_texts() -> None:
    head, [first, second] = run_table([run(job_id="職務"), run(job_id="x\x1b[31m", pipeline="long-name")])
    assert head == "RUN  JOB     PIPELINE   REQUESTED (UTC)      STATUS"
    assert first == "a-1  職務    default    2026-11-27 09:32:43  queued since 2026-11-27 09:32:43 UTC"
    assert second.startswith("a-1  x␛[31m  long-name  2026")


@pytest.mark.parametrize(
    ("count", "rest"), [(0, b"a\nbc\n\nd"), (1, b"bc\n\nd"), (2, b"\nd"), (3, b"d"), (4, b""), (9, b"")]
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_first_lines_of_a_text_in_pieces_are_skipped(count: int, rest: bytes, size: int) -> None:
    text = b"a\nbc\n\nd"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert b"".join(after_line(pieces, count)) == rest


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
