"""The pages' own calls to the launcher: each returns data or raises a problem that a page can show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
from flask import g

from frontend import answers
from frontend.answers import Shape
from frontend.api.runner import ask
from frontend.batch import NOT_FOUND
from frontend.last_run import LastRun
from frontend.messages import LIVE, Problem, problem_of, unexpected, unreachable

MAX_RUNS = 500  # the launcher's largest page
POLLED_RUNS = 100  # the newest runs, fetched with each poll: new runs are among them


class LauncherError(Exception):
    """The launcher returned an error or is unreachable."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def call(
    *parts: str,
    shape: Shape,
    method: str = "GET",
    params: dict[str, str | int] | None = None,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the launcher's answer, which has this shape; raises `LauncherError`."""
    try:
        answer = ask(*parts, method=method, params=params, body=body, headers=headers)
    except httpx.TransportError:
        raise LauncherError(unreachable()) from None
    document = answers.parse(answer.content)
    if answer.status_code != 200:
        raise LauncherError(_problem(answer, document))
    if not answers.conforms(document, shape):
        raise LauncherError(unexpected())
    found: dict[str, Any] = document
    return found


def first_bytes(limit: int, *parts: str) -> tuple[bytes, bool]:
    """Return at most `limit` bytes of a file, and whether there are more; raises `LauncherError`."""
    try:
        answer = ask(*parts, headers={"Range": f"bytes=0-{limit - 1}"})
    except httpx.TransportError:
        raise LauncherError(unreachable()) from None
    if answer.status_code == 416:  # an empty file has no first byte
        return b"", False
    if answer.status_code not in (200, 206):
        raise LauncherError(_problem(answer, answers.parse(answer.content)))
    size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    total = int(size) if re.fullmatch("[0-9]{1,18}", size) else len(answer.content)
    return answer.content[:limit], total > limit


def newest_of(runs: Iterable[Mapping[str, Any]]) -> dict[str, LastRun]:
    """Return each job's newest run; `runs` are ordered newest first."""
    return {run["job_id"]: LastRun(run["run_id"], run["status"]) for run in reversed([*runs])}


def last_runs() -> tuple[dict[str, LastRun], Problem | None]:
    """Return the newest run of each job, or none and the problem. Fetched once per request."""
    if "last_runs" not in g:
        try:
            g.last_runs = newest_of(call("jobs", shape=answers.RUNS, params={"per_page": MAX_RUNS})["runs"]), None
        except LauncherError as exc:
            g.last_runs = {}, exc.problem
    found: tuple[dict[str, LastRun], Problem | None] = g.last_runs
    return found


def known_runs() -> dict[str, LastRun] | None:
    """Return the newest run of each job; None if the launcher is unavailable."""
    runs, problem = last_runs()
    return None if problem else runs


def statuses_of(run_ids: Iterable[str]) -> dict[str, str]:
    """Return the status of each of these runs, `NOT_FOUND` if the launcher has no such run; raises `LauncherError`."""
    newest = {
        run["run_id"]: run["status"]
        for run in call("jobs", shape=answers.RUNS, params={"per_page": POLLED_RUNS})["runs"]
    }
    return {run_id: newest.get(run_id) or _status_of(run_id) for run_id in run_ids}


def changes(shown: Mapping[str, LastRun]) -> dict[str, LastRun]:
    """Return the jobs whose newest run differs from what is shown, with that run; raises `LauncherError`.

    A run that is shown as active and is not among the newest is fetched by itself.
    """
    newest = newest_of(call("jobs", shape=answers.RUNS, params={"per_page": POLLED_RUNS})["runs"])
    for job_id, run in shown.items():
        if job_id not in newest and run.status in LIVE:
            try:
                newest[job_id] = LastRun(run.run_id, call("jobs", run.run_id, "status", shape=answers.RUN)["status"])
            except LauncherError as exc:
                if exc.problem.status != 404:
                    raise
    return {job_id: newest[job_id] for job_id in shown if newest.get(job_id, shown[job_id]) != shown[job_id]}


def _status_of(run_id: str) -> str:
    try:
        return str(call("jobs", run_id, "status", shape=answers.RUN)["status"])
    except LauncherError as exc:
        if exc.problem.status == 404:
            return NOT_FOUND
        raise


def _problem(answer: httpx.Response, document: Any) -> Problem:
    detail = str(document.get("detail") or "") if isinstance(document, dict) else ""
    return problem_of(answer.status_code, detail, answer.headers.get("Retry-After", ""))
