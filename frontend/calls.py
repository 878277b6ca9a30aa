"""The pages' own questions to the launcher: an answer, or a problem in words."""

from __future__ import annotations

from typing import Any

import httpx
from flask import g

from frontend.api.runner import ask
from frontend.postings import LastRun
from frontend.words import Problem, problem_of, unreachable

NEWEST = 200  # runs among which the newest of each posting on the page is looked for
_NOT_JSON = Problem(
    502, "That is not the launcher", "What answers at RUNNER_URL is not the launcher. Check the address."
)


class Refused(Exception):
    """The launcher did not do what was asked, or does not answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def call(
    *parts: str,
    method: str = "GET",
    params: dict[str, str | int] | None = None,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the launcher's answer; raises `Refused`."""
    try:
        answer = ask(*parts, method=method, params=params, body=body, headers=headers)
    except httpx.TransportError:
        raise Refused(unreachable()) from None
    document = _json(answer)
    if answer.status_code != 200:
        raise Refused(_problem(answer, document))
    if document is None:
        raise Refused(_NOT_JSON)
    return document


def beginning(most_bytes: int, *parts: str) -> tuple[bytes, bool]:
    """Return at most so many bytes of a file, and whether there are more; raises `Refused`."""
    try:
        answer = ask(*parts, headers={"Range": f"bytes=0-{most_bytes - 1}"})
    except httpx.TransportError:
        raise Refused(unreachable()) from None
    if answer.status_code == 416:  # an empty file has no such part
        return b"", False
    if answer.status_code not in (200, 206):
        raise Refused(_problem(answer, _json(answer)))
    size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    whole = int(size) if size.isascii() and size.isdigit() else len(answer.content)
    return answer.content[:most_bytes], whole > most_bytes


def last_runs() -> tuple[dict[str, LastRun], Problem | None]:
    """Return the newest run of each job among the newest runs, or none and why; asked once for a page."""
    if "last_runs" not in g:
        try:
            runs = call("jobs", params={"per_page": NEWEST})["runs"]
            g.last_runs = {run["job_id"]: LastRun(run["run_id"], run["status"]) for run in reversed(runs)}, None
        except Refused as exc:
            g.last_runs = {}, exc.problem
    found: tuple[dict[str, LastRun], Problem | None] = g.last_runs
    return found


def known_runs() -> dict[str, LastRun]:
    """Return the newest run of each job, as far as the launcher says."""
    return last_runs()[0]


def _problem(answer: httpx.Response, document: dict[str, Any] | None) -> Problem:
    detail = str(document.get("detail") or "") if document else ""
    return problem_of(answer.status_code, detail, answer.headers.get("Retry-After", ""))


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        document = answer.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
