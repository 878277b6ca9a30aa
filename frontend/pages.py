"""The pages that people read."""

from __future__ import annotations

import httpx
from flask import Blueprint, abort, render_template

from frontend.api.runner import UNREACHABLE, ask

pages = Blueprint("pages", __name__)


@pages.get("/")
def runs() -> str:
    """The newest runs and how they stand."""
    try:
        answer = ask("jobs")
    except httpx.TransportError:
        abort(503, UNREACHABLE)
    if answer.status_code == 401:
        abort(502, "The launcher does not take our secret: RUNNER_API_SECRET must be the same here and there.")
    if answer.status_code != 200:
        abort(502, f"The launcher answered {answer.status_code}. Look at its log, then load this page again.")
    return render_template("runs.html", runs=answer.json()["runs"])
