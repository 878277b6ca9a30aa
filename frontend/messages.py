"""The sentences that people read: statuses, durations and problems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

STATUSES = ("queued", "running", "completed", "failed", "cancelled")
LIVE = frozenset({"queued", "running"})

RUNNING = "The pipeline is running."
PAGE_EXPIRED = "This page has expired. Reload it."
NO_RESPONSE = "The launcher is not responding"
UNREACHABLE = f"{NO_RESPONSE}. Check that it is running and that RUNNER_URL is correct."
CREDENTIALS_REJECTED = "The launcher rejected our credentials"
RUN_NOT_FOUND = "Run not found"
POSTINGS_UNAVAILABLE = "Postings are unavailable"
SIGN_IN_FAILED = "Incorrect password. Try again."
PAGE_ERRORS = {
    404: ("Page not found", "The link may be mistyped or out of date."),
    405: ("Method not allowed", "This URL does not accept such a request."),
    500: ("Something went wrong", "Try again. If it happens again, check the log of the front end."),
}
"""The title and the text of each status that Flask raises by itself."""
_MAX_DETAIL = 2000  # characters; some are sent in a header
_CHECK_RUNNER_URL = UNREACHABLE.removeprefix(f"{NO_RESPONSE}. ")
_ADVICE = {
    401: "Check RUNNER_API_SECRET: the front end and the launcher must have the same value.",
    403: "Check RUNNER_API_SECRET: the front end needs the launcher's own secret, not a token with fewer permissions.",
    404: "The link may be mistyped, or the run was deleted at the end of its retention period.",
    409: "This job was started in the meantime with other options. Reload the page to see its newest run.",
}
_UNAVAILABLE_TITLES = {
    502: "The launcher is unreachable",
    503: "The launcher is temporarily unavailable",
    504: "The launcher did not respond in time",
}
_PAUSED = "The queue is paused. Running pipelines continue; queued runs start when the queue is resumed."
_OUTAGES = {
    "redis": "Redis is not responding. Runs and logs continue from the archive.",
    "mongodb": "MongoDB is not responding. Runs continue; their results are written when it is back.",
    "kubernetes": "Kubernetes is not responding. Running pipelines continue; queued runs start when it is back.",
    "operator": "The operator is not responding. Running pipelines continue. "
    "Their results appear, and queued runs start, when it is back.",
}


@dataclass(frozen=True)
class Problem:
    """What went wrong, and what to do about it; `status` is the HTTP status of the page that says so."""

    status: int
    title: str
    text: str


def unexpected() -> Problem:
    """Return the problem of an answer that the launcher never sends."""
    return Problem(502, "Unexpected response", "The server at RUNNER_URL is not the launcher. Check RUNNER_URL.")


def unreachable() -> Problem:
    """Return the problem of a launcher that refuses connections or does not respond in time."""
    return Problem(503, NO_RESPONSE, _CHECK_RUNNER_URL)


def problem_of(status: int, detail: str = "", retry_after: str = "") -> Problem:
    """Describe an error response of the launcher; `detail` is its sentence, `retry_after` its header, in seconds."""
    wait = _try_again_in(int(retry_after)) if re.fullmatch("[0-9]{1,6}", retry_after) else ""
    detail = detail[:_MAX_DETAIL]
    match status:
        case 401:  # not the reader's fault, who has signed in: the front end is a gateway here
            return Problem(502, CREDENTIALS_REJECTED, _ADVICE[401])
        case 403:
            return Problem(502, "The launcher denied access", _ADVICE[403])
        case 404:
            return Problem(404, RUN_NOT_FOUND, _ADVICE[404])
        case 409:
            return Problem(409, "Already started", _ADVICE[409])
        case 422:
            return Problem(422, "Invalid request", detail or "The launcher rejected the request as invalid.")
        case 429:
            return Problem(429, "Too many requests", (detail or "The launcher is busy.") + wait)
        case 502 | 503 | 504 if detail and detail != UNREACHABLE:
            return Problem(503, _UNAVAILABLE_TITLES[status], detail + wait)
        case 502 | 503 | 504:
            return unreachable()
    text = f"It returned HTTP {status}. Check its log, then try again. {detail}".strip()
    return Problem(502, "The launcher returned an error", text)


def _try_again_in(seconds: int) -> str:
    return f" Try again in {seconds} {'second' if seconds == 1 else 'seconds'}."


def notices(health: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each outage that `/health` reports, and for a paused queue."""
    outages = [text for name, text in _OUTAGES.items() if health.get(name) == "away"]
    return ([_PAUSED] if health.get("paused") else []) + outages


def runs_finished(finished: int, total: int) -> str:
    """Say how far several runs have come: `2 of 5 runs finished`."""
    return f"{finished} of {total} {'run' if total == 1 else 'runs'} finished"


def moment(text: object) -> datetime | None:
    """Parse a time, RFC 3339 or the database's; None for anything else."""
    if isinstance(text, datetime):
        return text if text.tzinfo else text.replace(tzinfo=UTC)
    try:
        return moment(datetime.fromisoformat(text)) if isinstance(text, str) else None
    except ValueError:
        return None


def duration(seconds: float) -> str:
    """Format a duration with its two largest units: `0.4 s`, `52 s`, `2 min 5 s`, `3 h 12 min`, `2 d 1 h`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest} s"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def lasted(run: Mapping[str, Any]) -> str:
    """Say how long a finished run ran; empty if it never started or has not finished."""
    started, completed = moment(run.get("started_at")), moment(run.get("completed_at"))
    return duration((completed - started).total_seconds()) if started and completed else ""


def sentence(run: Mapping[str, Any]) -> str:
    """Describe a run's status, and the reason for it."""
    place = run.get("queue") or {}
    match run.get("status"):
        case "queued" if place:
            eta = place.get("eta_seconds")
            about = f" Starts in about {duration(eta)}." if isinstance(eta, int | float) and eta >= 1 else ""
            return f"{place.get('why') or 'Waiting for a free slot.'}{about}"
        case "queued":
            return "Waiting to start."
        case "running":
            return RUNNING
    return str(run.get("message") or "")


def gap(document: Mapping[str, Any]) -> str:
    """Say which lines are missing, and why."""
    first, last = document["from"], document["to"]
    which = f"Line {last} is" if first == last else f"Lines {first} to {last} are"
    return f"{which} missing: {document['why']}"


def receipt(run: Mapping[str, Any]) -> str:
    """Say whether the log of a finished run is complete, and how long it is."""
    log = run.get("log") or {}
    lines = log.get("lines") or 0
    count = "1 line" if lines == 1 else f"{lines:,} lines"
    return f"Log complete, {count}." if log.get("complete") else f"Log incomplete, {count}."
