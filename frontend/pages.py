"""The pages that people read."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from flask import Blueprint, abort, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from frontend import chart, messages
from frontend.batch import Batch, read_address
from frontend.calls import Refused, beginning, call, changes, last_runs, statuses_of
from frontend.fragments import as_fragment, refused, seen, state_of
from frontend.keys import launch_key
from frontend.last_run import UNKNOWN
from frontend.postings import NEW, PostingQuery, Postings, PostingsUnavailable
from frontend.previews import MOST_BYTES, kind_of, rendered
from frontend.row_state import read_shown

pages = Blueprint("pages", __name__)
pages.after_app_request(as_fragment)

PER_PAGE = 25
MOST_PAGES = 100_000
ZONE_COOKIE = "slipway_tz"
"""The browser's time zone, which `page.js` writes."""


@pages.get("/")
def start() -> ResponseReturnValue:
    """The postings are the start."""
    return redirect(url_for("pages.jobs"))


@pages.get("/jobs")
def jobs() -> ResponseReturnValue:
    """The postings, each with its newest run, and the batch that the address names."""
    status = request.args.get("status", "")
    query = PostingQuery(
        text=request.args.get("q", "")[:200].strip(),
        status=status if status in (NEW, *messages.STATUSES) else "",
        page=_page(),
        per_page=PER_PAGE,
    )
    postings: Postings = current_app.extensions["postings"]
    found, total = postings.find(query)
    runs, problem = last_runs()
    rows = []
    for posting in found:
        last_run = posting.last_run.without_launcher() if problem else runs.get(posting.job_id, posting.last_run)
        rows.append((posting, state_of(posting.job_id, last_run, away=bool(problem))))
    for posting, row in rows:  # what the database alone calls live may have ended unnoticed: it can be processed
        row["live"] &= posting.job_id in runs
    pressed = Batch(read_address(request.args.get("batch", "")))
    return render_template("jobs.html", rows=rows, query=query, total=total, live=_strip(problem), batch=pressed)


@pages.get("/live")
def live() -> ResponseReturnValue:
    """How the launcher stands, and those of the shown postings whose newest run is not as shown."""
    shown = read_shown(request.args.getlist("shown"))
    try:
        changed, problem = changes(shown) if shown else {}, None
    except Refused as exc:
        changed, problem = {job_id: run.without_launcher() for job_id, run in shown.items()}, exc.problem
    rows = [state_of(job_id, run, away=bool(problem)) for job_id, run in changed.items() if run != shown[job_id]]
    answer = make_response(render_template("_live.html", live=_strip(problem), rows=rows))
    if not problem and any(run.status == UNKNOWN for run in shown.values()):
        answer.headers["HX-Trigger"] = "launcher-back"  # the page takes its postings again: it knows too little of them
    return answer


@pages.get("/batch")
def batch() -> ResponseReturnValue:
    """How far the runs of one press of *Process selected* have come."""
    run_ids = read_address(request.args.get("batch", ""))
    if not run_ids:
        abort(404, "The address names no run.")
    try:
        return render_template("_batch.html", batch=Batch(run_ids, statuses_of(run_ids)))
    except Refused:
        return (
            "",
            204,
        )  # the bar stays as it is and asks again; why, is said where the page says how the launcher stands


@pages.get("/runs")
def runs() -> ResponseReturnValue:
    """The history, its last days as a chart, and the slots in use now."""
    status = request.args.get("status", "")
    status = status if status in messages.STATUSES else ""
    job_id = request.args.get("job_id", "")[:200]
    asked: dict[str, str | int] = {"page": _page(), "per_page": PER_PAGE}
    asked |= {name: value for name, value in (("status", status), ("job_id", job_id)) if value}
    found = call("jobs", params=asked)
    polled = request.headers.get("HX-Target") == "runs"  # by the table, which takes itself alone
    zone, days = ("", []) if polled else _charted()
    return render_template(
        "runs.html",
        runs=found["runs"],
        query={"status": status, "job_id": job_id, "page": asked["page"], "per_page": PER_PAGE},
        total=found["total"],
        days=days,
        bars=chart.bars_of(days),
        size=chart.size_of(days),
        zone=zone,
        live=None if polled else _strip(None),
    )


@pages.get("/runs/<run_id>")
def run(run_id: str) -> ResponseReturnValue:
    """One run: how it stands, its log, its files."""
    shown = call("jobs", run_id, "status")
    newest = call("jobs", params={"job_id": shown["job_id"], "per_page": 1})["runs"]
    return render_template(
        "job_detail.html", run=shown, run_id=run_id, seen=seen(shown), newest=newest[0] if newest else shown
    )


@pages.post("/runs/<run_id>/again")
def again(run_id: str) -> ResponseReturnValue:
    """Launch such a run again; pressed in two tabs, it is one run."""
    body = call("jobs", run_id, "request")
    key = launch_key(str(body["job_id"]), request.form.get("last_run", "") or run_id)
    launched = call("jobs", "run", method="POST", body=body, headers={"Idempotency-Key": key})
    return redirect(url_for("pages.run", run_id=launched["run_id"]), 303)


@pages.get("/runs/<run_id>/files/<filename>")
def preview(run_id: str, filename: str) -> ResponseReturnValue:
    """One file that the run made, as it reads."""
    kind = kind_of(filename)
    if not kind:
        abort(404, "There is no preview of such a file. Download it from the run's page.")
    try:
        content, cut = beginning(MOST_BYTES, "artifacts", run_id, filename)
    except Refused as exc:
        if exc.problem.status == 404:
            abort(404, "The run has made no such file, or it is older than the launcher keeps files.")
        raise
    text = content.decode("utf-8", "replace")
    return render_template(
        "preview.html",
        run_id=run_id,
        filename=filename,
        markdown=rendered(text) if kind == "markdown" else None,
        text=text,
        cut=cut,
    )


@pages.app_errorhandler(Refused)
def launcher_refused(error: Refused) -> ResponseReturnValue:
    """Say in words what the launcher did not do."""
    if "HX-Request" in request.headers:
        return refused(error.problem)
    problem = error.problem
    return render_template(
        "error.html", title=problem.title, detail=problem.text, status=problem.status
    ), problem.status


@pages.app_errorhandler(PostingsUnavailable)
def postings_unavailable(error: PostingsUnavailable) -> ResponseReturnValue:
    """Say why there are no postings."""
    return launcher_refused(Refused(messages.Problem(503, "The postings cannot be had", str(error))))


@pages.app_template_global()
def files_of(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names of a run's files, each with `markdown`, `text` or nothing: how it can be shown."""
    names = [unquote(url.rpartition("/")[2]) for url in run["artifacts"].values()]
    return [(name, kind_of(name)) for name in names]


pages.add_app_template_filter(messages.lasted)
pages.add_app_template_filter(messages.sentence)
pages.add_app_template_filter(messages.receipt)
pages.add_app_template_filter(messages.gap)


def _strip(problem: messages.Problem | None) -> dict[str, Any]:
    """Return how the launcher stands; the `problem` that a call just had is not asked for a second time."""
    if problem:
        return {"problem": problem}
    try:
        health = call("health")
    except Refused as exc:
        return {"problem": exc.problem}
    return {"health": health, "notices": messages.notices(health)}


def _charted() -> tuple[str, list[chart.Day]]:
    """Return the days of the chart and their time zone: the viewer's, else UTC. No days if the launcher counts none."""
    zone = request.cookies.get(ZONE_COOKIE, "")[:64]
    for name in dict.fromkeys((zone or "UTC", "UTC")):  # the launcher may not know the viewer's
        with suppress(Refused):
            counted = call("jobs", "stats", params={"days": chart.DAYS, "tz": name})
            return counted["tz"], chart.days_of(counted["days"])
    return "", []


def _page() -> int:
    text = request.args.get("page", "1")
    return min(max(int(text), 1), MOST_PAGES) if text.isascii() and text.isdigit() and len(text) < 10 else 1
