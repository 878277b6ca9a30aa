"""What people read: states, times and refusals in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

STATUSES = ("queued", "running", "completed", "failed", "cancelled")
LIVE = frozenset({"queued", "running"})

_SILENT = "The launcher does not answer"
_LOOK = "Check that it is up, and that RUNNER_URL leads to it."
UNREACHABLE = f"{_SILENT}. {_LOOK}"
_ADVICE = {
    401: "The launcher does not take our secret. RUNNER_API_SECRET must be the same here and there.",
    403: "Our credential may not do this. Give RUNNER_API_SECRET here the launcher's own secret, not a narrower token.",
    404: "The link may be mistyped, or the run is older than the launcher keeps runs.",
    409: "This was started again meanwhile, with other options. Load the page again to see the newest run.",
}
_AWAY_TITLES = {
    502: "The launcher cannot be reached",
    503: "The launcher cannot take this now",
    504: "No answer in time",
}
_AWAY = {
    "redis": "Redis does not answer. Runs and logs go on from the archive.",
    "mongodb": "MongoDB does not answer. Runs go on; what they came to is written there when it is back.",
    "kubernetes": "Kubernetes does not answer. Runs that are going go on; others start when it is back.",
    "operator": "The operator is away. Runs that are going go on, and how they end shows when it is back; "
    "no other starts until then.",
}


@dataclass(frozen=True)
class Problem:
    """What went wrong, and what to do about it; `status` is the HTTP status of the page that says so."""

    status: int
    title: str
    text: str


def unreachable() -> Problem:
    """Return what is said when no connection comes about, or no answer in time."""
    return Problem(503, _SILENT, _LOOK)


def problem_of(status: int, detail: str = "", retry_after: str = "") -> Problem:
    """Put a refusal of the launcher in words; `detail` is its own sentence, `retry_after` its header, in seconds."""
    wait = f" Try again in {retry_after} s." if retry_after.isascii() and retry_after.isdigit() else ""
    match status:
        case 401:  # to us it is a gateway's fault: whoever reads the page has signed in
            return Problem(502, "The launcher does not know us", _ADVICE[401])
        case 403:
            return Problem(502, "The launcher does not allow it", _ADVICE[403])
        case 404:
            return Problem(404, "There is no such run", _ADVICE[404])
        case 409:
            return Problem(409, "Started already", _ADVICE[409])
        case 422:
            return Problem(422, "The launcher refuses this", detail or "It says that the request is not valid.")
        case 429:
            return Problem(429, "Too much at once", (detail or "The launcher takes no more just now.") + wait)
        case 502 | 503 | 504 if detail and detail != UNREACHABLE:
            return Problem(503, _AWAY_TITLES[status], detail + wait)
        case 502 | 503 | 504:
            return unreachable()
    return Problem(
        502, "The launcher failed", f"It answered {status}. Look at its log, then try again. {detail}".strip()
    )


def notices(health: Mapping[str, Any]) -> list[str]:
    """Return what is out of order, a sentence each."""
    paused = ["The queue is paused. Runs that are going go on; no other starts until it is resumed."]
    away = [text for name, text in _AWAY.items() if health.get(name) == "away"]
    return (paused if health.get("paused") else []) + away


def moment(text: object) -> datetime | None:
    """Read a time, RFC 3339 or of the database; None where there is none."""
    if isinstance(text, datetime):
        return text if text.tzinfo else text.replace(tzinfo=UTC)
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def duration(seconds: float) -> str:
    """Say a duration with its two largest units: `0.4 s`, `52 s`, `2 min 5 s`, `3 h 12 min`, `2 d 1 h`."""
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
    """Say how long a run that has ended ran; empty where it did not."""
    started, completed = moment(run.get("started_at")), moment(run.get("completed_at"))
    return duration((completed - started).total_seconds()) if started and completed else ""


def sentence(run: Mapping[str, Any]) -> str:
    """Say how a run stands, and why."""
    place = run.get("queue") or {}
    match run.get("status"):
        case "queued" if place:
            eta = place.get("eta_seconds")
            about = f" It starts in about {duration(eta)}." if isinstance(eta, int | float) and eta >= 1 else ""
            return f"{place.get('why') or 'Waiting for a free slot.'}{about}"
        case "queued":
            return "Waiting to start."
        case "running":
            return "The pipeline is running."
    return str(run.get("message") or "")


def gap(document: Mapping[str, Any]) -> str:
    """Say which lines are missing, and why."""
    first, last = document["from"], document["to"]
    which = f"Line {last} is" if first == last else f"Lines {first} to {last} are"
    return f"{which} missing: {document['why']}"


def receipt(run: Mapping[str, Any]) -> str:
    """Say what is kept of the log of a run that has ended."""
    log = run.get("log") or {}
    lines = log.get("lines") or 0
    count = "1 line" if lines == 1 else f"{lines:,} lines"
    return f"Log complete, {count}." if log.get("complete") else f"Log incomplete, {count}."
