"""The pages: postings, runs, one run, previews."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from flask import Blueprint, abort, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from frontend import answers, chart, messages
from frontend.batch import Batch, parse_batch
from frontend.calls import LauncherError, call, changes, first_bytes, last_runs, statuses_of
from frontend.fragments import as_fragment, problem_fragment, row_state, seen
from frontend.keys import launch_key
from frontend.last_run import UNKNOWN
from frontend.postings import NEW, PostingQuery, Postings, PostingsUnavailable
from frontend.previews import MAX_BYTES, kind_of, rendered
from frontend.row_state import read_shown

pages = Blueprint("pages", __name__)
pages.after_app_request(as_fragment)

PER_PAGE = 25
MAX_PAGE = 100_000
ZONE_COOKIE = "slipway_tz"
"""The browser's time zone, set by `page.js`."""


@pages.get("/")
def start() -> ResponseReturnValue:
    """The jobs page is the home page."""
    return redirect(url_for("pages.jobs"))


@pages.get("/jobs")
def jobs() -> ResponseReturnValue:
    """The postings, each with its newest run, and the batch in the URL."""
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
        rows.append((posting, row_state(posting.job_id, last_run, away=bool(problem))))
    for posting, row in rows:  # the database may be out of date: what only it calls active can be processed
        row["live"] &= posting.job_id in runs
    batch = Batch(parse_batch(request.args.get("batch", "")))
    return render_template("jobs.html", rows=rows, query=query, total=total, live=_launcher_state(problem), batch=batch)


@pages.get("/live")
def live() -> ResponseReturnValue:
    """The launcher's state, and the rows whose newest run differs from what the page shows."""
    shown = read_shown(request.args.getlist("shown"))
    try:
        changed, problem = changes(shown) if shown else {}, None
    except LauncherError as exc:
        changed, problem = {job_id: run.without_launcher() for job_id, run in shown.items()}, exc.problem
    rows = [row_state(job_id, run, away=bool(problem)) for job_id, run in changed.items() if run != shown[job_id]]
    answer = make_response(render_template("_live.html", live=_launcher_state(problem), rows=rows))
    if not problem and any(run.status == UNKNOWN for run in shown.values()):
        answer.headers["HX-Trigger"] = "launcher-back"  # the page reloads its rows
    return answer


@pages.get("/batch")
def batch() -> ResponseReturnValue:
    """The progress of the runs that one click of *Process selected* launched."""
    run_ids = parse_batch(request.args.get("batch", ""))
    if not run_ids:
        abort(404, "The URL contains no run id.")
    try:
        return render_template("_batch.html", batch=Batch(run_ids, statuses_of(run_ids)))
    except LauncherError:
        return "", 204  # the bar keeps polling; the page shows the launcher's problem elsewhere


@pages.get("/runs")
def runs() -> ResponseReturnValue:
    """The history of runs, a chart of the last days, and the slots in use."""
    status = request.args.get("status", "")
    status = status if status in messages.STATUSES else ""
    job_id = request.args.get("job_id", "")[:200]
    params: dict[str, str | int] = {"page": _page(), "per_page": PER_PAGE}
    params |= {name: value for name, value in (("status", status), ("job_id", job_id)) if value}
    found = call("jobs", shape=answers.RUNS, params=params)
    polled = request.headers.get("HX-Target") == "runs"  # by the table, which replaces only itself
    zone, days = ("", []) if polled else _chart_days()
    return render_template(
        "runs.html",
        runs=found["runs"],
        query={"status": status, "job_id": job_id, "page": params["page"], "per_page": PER_PAGE},
        total=found["total"],
        days=days,
        bars=chart.bars_of(days),
        size=chart.size_of(days),
        zone=zone,
        live=None if polled else _launcher_state(None),
    )


@pages.get("/runs/<run_id>")
def run(run_id: str) -> ResponseReturnValue:
    """One run: its status, log and files."""
    shown = call("jobs", run_id, "status", shape=answers.RUN)
    newest = call("jobs", shape=answers.RUNS, params={"job_id": shown["job_id"], "per_page": 1})["runs"]
    return render_template(
        "job_detail.html", run=shown, run_id=run_id, seen=seen(shown), newest=newest[0] if newest else shown
    )


@pages.post("/runs/<run_id>/again")
def again(run_id: str) -> ResponseReturnValue:
    """Launch the run again with the same options; clicks in two tabs launch one run."""
    body = call("jobs", run_id, "request", shape=answers.REQUEST)
    key = launch_key(str(body["job_id"]), request.form.get("last_run", "") or run_id)
    launched = call("jobs", "run", shape=answers.RUN, method="POST", body=body, headers={"Idempotency-Key": key})
    return redirect(url_for("pages.run", run_id=launched["run_id"]), 303)


@pages.get("/runs/<run_id>/files/<filename>")
def preview(run_id: str, filename: str) -> ResponseReturnValue:
    """A preview of one of the run's files."""
    kind = kind_of(filename)
    if not kind:
        abort(404, "This type of file has no preview. Download it from the run's page.")
    try:
        content, cut = first_bytes(MAX_BYTES, "artifacts", run_id, filename)
    except LauncherError as exc:
        if exc.problem.status == 404:
            abort(404, "The run did not produce this file, or the file was deleted at the end of its retention period.")
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


@pages.app_errorhandler(LauncherError)
def launcher_error(error: LauncherError) -> ResponseReturnValue:
    """Show a problem that a call to the launcher ran into."""
    if "HX-Request" in request.headers:
        return problem_fragment(error.problem)
    problem = error.problem
    return render_template(
        "error.html", title=problem.title, detail=problem.text, status=problem.status
    ), problem.status


@pages.app_errorhandler(PostingsUnavailable)
def postings_unavailable(error: PostingsUnavailable) -> ResponseReturnValue:
    """Say why there are no postings."""
    return launcher_error(LauncherError(messages.Problem(503, messages.POSTINGS_UNAVAILABLE, str(error))))


@pages.app_template_global()
def files_of(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names of a run's files, each with the kind of its preview: `markdown`, `text` or an empty string."""
    names = [unquote(url.rpartition("/")[2]) for url in run["artifacts"].values()]
    return [(name, kind_of(name)) for name in names]


pages.add_app_template_filter(messages.lasted)
pages.add_app_template_filter(messages.sentence)
pages.add_app_template_filter(messages.receipt)
pages.add_app_template_filter(messages.gap)


def _launcher_state(problem: messages.Problem | None) -> dict[str, Any]:
    """Return the launcher's health, or the problem; after a call that failed, `/health` is not called as well."""
    if problem:
        return {"problem": problem}
    try:
        health = call("health", shape=answers.HEALTH)
    except LauncherError as exc:
        return {"problem": exc.problem}
    return {"health": health, "notices": messages.notices(health)}


def _chart_days() -> tuple[str, list[chart.Day]]:
    """Return the chart's days and time zone: the viewer's, else UTC. No days if the launcher provides no counts."""
    zone = request.cookies.get(ZONE_COOKIE, "")[:64]
    for name in dict.fromkeys((zone or "UTC", "UTC")):  # the launcher may not support the viewer's
        with suppress(LauncherError, ValueError):  # ValueError: a day that is no date
            counted = call("jobs", "stats", shape=answers.STATISTICS, params={"days": chart.DAYS, "tz": name})
            return counted["tz"], chart.days_of(counted["days"])
    return "", []


def _page() -> int:
    text = request.args.get("page", "1")
    return min(max(int(text), 1), MAX_PAGE) if text.isascii() and text.isdigit() and len(text) < 10 else 1
