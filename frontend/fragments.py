"""Responses to htmx: fragments of the page instead of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Response, make_response, render_template, request, url_for

from frontend import answers
from frontend.answers import Shape
from frontend.batch import MAX_RUNS, Batch
from frontend.keys import anchor, launch_key
from frontend.last_run import LastRun
from frontend.messages import LIVE, PAGE_EXPIRED, Problem, problem_of, unexpected
from frontend.sign_in import signed_in

STOP_POLLING = 286  # htmx's status code for "swap this and stop polling"


def as_fragment(response: Response) -> Response:
    """Turn the JSON response to an htmx request into HTML; other responses stay unchanged."""
    if "HX-Request" not in request.headers:
        return response
    if response.status_code == 302:  # to the sign-in page, which must replace the whole page
        return _with_headers(make_response(), **{"HX-Redirect": response.location or "/"})
    render, shape = _RENDERED.get(request.endpoint or "", (None, None))
    if render is None and response.status_code >= 400 and "HX-Retarget" not in response.headers:
        return _with_headers(response, **{"HX-Retarget": "#notice", "HX-Reswap": "innerHTML", "HX-Reselect": ".error"})
    if render is None:
        return response
    document = answers.parse(response.get_data())
    if response.status_code == 200:
        return render(document) if answers.conforms(document, shape) else problem_fragment(unexpected())
    detail = str(document.get("detail") or "") if isinstance(document, dict) else ""
    found = problem_of(response.status_code, detail, response.headers.get("Retry-After", ""))
    if response.status_code in (401, 403) and (not signed_in() or detail == PAGE_EXPIRED):
        found = Problem(response.status_code, "Signed out", "Reload this page and sign in.")
    return problem_fragment(found)


def problem_fragment(problem: Problem) -> Response:
    """Render a problem next to its button, or in the page's notice if it was not caused by a button."""
    answer = make_response(render_template("_problem.html", problem=problem), problem.status)
    if request.method == "GET" or request.endpoint == "runner.cancel_run":
        return _with_headers(answer, **{"HX-Retarget": "#notice", "HX-Reswap": "innerHTML", "HX-Reselect": ".problem"})
    return announced(answer, f"{problem.title}. {problem.text}")


def announced(response: Response, text: str) -> Response:
    """Announce a text to screen readers."""
    return _with_headers(response, **{"HX-Trigger": json.dumps({"announce": text})})


def row_of_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of the row whose newest run this is."""
    return row_state(run["job_id"], LastRun(run["run_id"], run["status"]))


def row_state(job_id: str, last_run: LastRun, *, away: bool = False) -> dict[str, Any]:
    """Return what a row of the jobs page shows, and its button's key; `away`: the launcher is unavailable."""
    return {
        "job_id": job_id,
        "anchor": anchor(job_id),
        "key": launch_key(job_id, last_run.run_id),
        "run_id": last_run.run_id,
        "status": last_run.status,
        "live": last_run.status in LIVE,
        "away": away,
    }


def seen(run: Mapping[str, Any]) -> str:
    """Return the version of a run's status that a page shows, like an ETag; the ETA is rounded to 5 s."""
    place = run.get("queue") or {}
    eta = place.get("eta_seconds")
    fives = round(eta / 5) if isinstance(eta, int | float) else ""
    return f"{run['status']} {place.get('position', '')} {fives} {place.get('why', '')}"


def _launched(run: dict[str, Any]) -> Response:
    answer = make_response(render_template("_launched.html", rows=[row_of_run(run)], one=True))
    return announced(answer, f"Job {run['job_id']} is {run['status']}.")


def _launched_many(answer: dict[str, Any]) -> Response:
    rows = [row_of_run(item["run"]) for item in answer["runs"] if item.get("run")]
    refusals = [(item["job_id"], _explanation(item["problem"])) for item in answer["runs"] if item.get("problem")]
    states = {row["run_id"]: row["status"] for row in rows[:MAX_RUNS]}
    batch = Batch(list(states), states)
    page = make_response(render_template("_launched.html", rows=rows, batch=batch, refusals=refusals))
    response = announced(page, f"{answer['accepted']} runs requested, {answer['refused']} rejected.")
    return _with_headers(response, **_batch_url(batch))


def _batch_url(batch: Batch) -> dict[str, str]:
    """Put this batch into the URL of the jobs page, so that the page can be reloaded or shared."""
    try:
        current = urlsplit(request.headers.get("HX-Current-URL", ""))
    except ValueError:  # not a URL
        return {}
    if current.path != url_for("pages.jobs"):
        return {}
    query = [(name, value) for name, value in parse_qsl(current.query) if name != "batch"]
    if batch.run_ids:
        query.append(("batch", batch.url_value))
    return {"HX-Replace-Url": urlunsplit(("", "", current.path, urlencode(query), ""))}


def _explanation(problem: Mapping[str, Any]) -> str:
    return problem_of(problem["status"], problem["detail"]).text


def _status(run: dict[str, Any]) -> Response:
    if request.args.get("seen") == seen(run):
        return make_response("", 204)
    answer = make_response(render_template("_run.html", run=run, seen=seen(run), swap=True))
    if run["status"] not in LIVE:
        answer.status_code = STOP_POLLING
    return answer


def _cancelled(run: dict[str, Any]) -> Response:
    cancelling = run["status"] in LIVE
    answer = make_response(render_template("_run.html", run=run, seen=seen(run), cancelling=cancelling, swap=True))
    return announced(answer, "The run is being cancelled." if cancelling else "The run has finished.")


_RENDERED: dict[str, tuple[Callable[[dict[str, Any]], Response], Shape]] = {
    "runner.trigger_run": (_launched, answers.RUN),
    "runner.trigger_bulk_run": (_launched_many, answers.BULK),
    "runner.get_run_status": (_status, answers.RUN),
    "runner.cancel_run": (_cancelled, answers.RUN),
}


def _with_headers(response: Response, **headers: str) -> Response:
    response.headers.update(headers)
    return response
