"""How a command fails: an exit code for scripts, a sentence for people.

A run's own exit code is passed on, so the command's own failures use the numbers of sysexits.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

CREDENTIAL_REJECTED = "The launcher rejected the credential."
CREDENTIAL_ADVICE = "Set RUNNER_API_SECRET to the launcher's secret, or to a token that it signed."


class Exit(IntEnum):
    """The command's own exit codes; the README has the table."""

    DONE = 0
    FAULT = 1
    REFUSED = 65
    UNREACHABLE = 69
    LATER = 75
    NOT_ALLOWED = 77
    CANCELLED = 130
    NO_READER = 141


class Failure(Exception):
    """The command failed. The message says why and what to do; `do` is the latter alone, where it is known separately.

    `status` is the HTTP status, if there was an answer.
    """

    def __init__(
        self, message: str, code: int = Exit.REFUSED, *, title: str = "", status: int | None = None, do: str = ""
    ) -> None:
        self.message, self.code, self.title, self.status, self.do = message, code, title, status, do
        super().__init__(message)

    @property
    def found(self) -> str:
        """What happened, without what to do."""
        return self.message.partition(f" {self.do}")[0] if self.do else self.message

    def problem(self) -> dict[str, Any]:
        """Return it as a problem (RFC 9457) with the exit code."""
        title = self.title or _TITLES.get(self.code, "The command failed")
        return {
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "detail": self.message,
            "exit_code": int(self.code),
        }


_TITLES: dict[int, str] = {
    2: "Usage error",
    Exit.REFUSED: "Refused",
    Exit.UNREACHABLE: "Launcher unreachable",
    Exit.LATER: "Temporarily unavailable",
    Exit.NOT_ALLOWED: "Access denied",
    Exit.CANCELLED: "Interrupted",
}


def exit_code_of(run: Mapping[str, Any]) -> int:
    """Return the exit code for a finished run: its own, 130 if it was cancelled, 1 if it failed without one."""
    match run["status"]:
        case "completed":
            return Exit.DONE
        case "cancelled":
            return Exit.CANCELLED
        case _:
            code = run["exit_code"]
            return code if isinstance(code, int) and 0 < code < 256 else Exit.FAULT


def failure_of(status: int, problem: Mapping[str, Any], retry_after: str | None = None) -> Failure:
    """Return the failure for an error answer (RFC 9457): its sentence, and what to do."""
    text = str(problem.get("detail") or problem.get("title") or f"The launcher answered {status}.")
    do = ""
    match status:
        case 401:  # its own sentence is for clients that send headers
            do = CREDENTIAL_ADVICE
            text, code = f"{CREDENTIAL_REJECTED} {do}", Exit.NOT_ALLOWED
        case 403:
            code = Exit.NOT_ALLOWED
        case 429 | 502 | 503 | 504:
            text, code = f"{text} Try again in {retry_after or 'a few'} seconds.", Exit.LATER
        case _ if status >= 500:
            text, code = f"{text} See the launcher's log.", Exit.FAULT
        case _:
            code = Exit.REFUSED
    return Failure(text, code, title=str(problem.get("title") or ""), status=status, do=do)
