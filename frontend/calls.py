"""The pages' own questions to the launcher: an answer, or a problem in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import httpx
from flask import g

from frontend.api.runner import ask
from frontend.batch import GONE
from frontend.last_run import LastRun
from frontend.messages import LIVE, Problem, problem_of, unreachable

MOST_RUNS = 500  # that the launcher lists at once
POLLED_RUNS = 100  # of the newest, with each poll: what is new is among them
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


def newest_of(runs: Iterable[Mapping[str, Any]]) -> dict[str, LastRun]:
    """Return each job's newest run of these, which come newest first."""
    return {run["job_id"]: LastRun(run["run_id"], run["status"]) for run in reversed([*runs])}


def last_runs() -> tuple[dict[str, LastRun], Problem | None]:
    """Return the newest run of each job, or none and why: postings are shown all the same. Asked once for a page."""
    if "last_runs" not in g:
        try:
            g.last_runs = newest_of(call("jobs", params={"per_page": MOST_RUNS})["runs"]), None
        except Refused as exc:
            g.last_runs = {}, exc.problem
    found: tuple[dict[str, LastRun], Problem | None] = g.last_runs
    return found


def known_runs() -> dict[str, LastRun] | None:
    """Return the newest run of each job; None if the launcher does not say."""
    runs, problem = last_runs()
    return None if problem else runs


def statuses_of(run_ids: Iterable[str]) -> dict[str, str]:
    """Return how each of these runs stands, `GONE` where the launcher has none such; raises `Refused`."""
    newest = {run["run_id"]: run["status"] for run in call("jobs", params={"per_page": POLLED_RUNS})["runs"]}
    return {run_id: newest.get(run_id) or _status_of(run_id) for run_id in run_ids}


def changes(shown: Mapping[str, LastRun]) -> dict[str, LastRun]:
    """Return those jobs whose newest run is not as shown, with that run; raises `Refused`.

    A run that was shown as live is asked for by itself where newer ones have pushed it off the list.
    """
    newest = newest_of(call("jobs", params={"per_page": POLLED_RUNS})["runs"])
    for job_id, run in shown.items():
        if job_id not in newest and run.status in LIVE:
            try:
                newest[job_id] = LastRun(run.run_id, call("jobs", run.run_id, "status")["status"])
            except Refused as exc:
                if exc.problem.status != 404:
                    raise
    return {job_id: newest[job_id] for job_id in shown if newest.get(job_id, shown[job_id]) != shown[job_id]}


def _status_of(run_id: str) -> str:
    try:
        return str(call("jobs", run_id, "status")["status"])
    except Refused as exc:
        if exc.problem.status == 404:
            return GONE
        raise


def _problem(answer: httpx.Response, document: dict[str, Any] | None) -> Problem:
    detail = str(document.get("detail") or "") if document else ""
    return problem_of(answer.status_code, detail, answer.headers.get("Retry-After", ""))


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        document = answer.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
