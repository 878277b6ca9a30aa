"""Sign-in: every page except the sign-in page requires it, and every change requires the session's CSRF token."""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress

from flask import Blueprint, abort, current_app, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadData, URLSafeTimedSerializer
from pymongo.errors import PyMongoError

from frontend.config import Config
from frontend.messages import PAGE_EXPIRED, SIGN_IN_FAILED
from frontend.sign_in_attempts import OF_ALL, OF_VISITOR, Attempts, Limit, exceeded, visitor_of

sign_in = Blueprint("sign_in", __name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"sign_in.login", "static"})
MAX_NEXT_URL = 1500  # characters; a cookie has at most 4096 bytes
NO_DATABASE = "MongoDB, which counts sign-in attempts, is not responding. Check MONGODB_URI, or try again."
TOO_MANY = {
    OF_VISITOR: "Too many attempts. Try again in 15 minutes.",
    OF_ALL: "Too many attempts. Try again in an hour, or in a browser that you have signed in with before.",
}
BROWSER = "slipway_browser"
"""The cookie of a browser in which someone has signed in: it has its own limit, which others cannot use up."""
BROWSER_SECONDS = 180 * 86400


@sign_in.before_app_request
def guard() -> ResponseReturnValue | None:
    """Require sign-in, and the session's CSRF token for changes."""
    if request.method not in SAFE and not _has_token():
        abort(403, PAGE_EXPIRED)
    if request.endpoint in OPEN or signed_in():
        return None
    if request.path.startswith("/api/"):
        abort(401, "Sign in first.")
    if request.method == "GET" and request.endpoint and "HX-Request" not in request.headers:
        url = request.full_path.removesuffix("?")  # has an endpoint, so it cannot redirect to another site
        session["next"] = url if len(url) <= MAX_NEXT_URL else request.path
    return redirect(url_for("sign_in.login"))


@sign_in.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """The sign-in page and its form."""
    if request.method == "GET":
        return redirect("/") if signed_in() else render_template("login.html", error="")
    attempts: Attempts = current_app.extensions["attempts"]
    browser = _known_browser()
    visitor = f"browser {browser}" if browser else visitor_of(request.remote_addr or "")
    try:
        limit = exceeded(attempts, visitor, known=bool(browser))
    except PyMongoError:
        return render_template("login.html", error=NO_DATABASE), 503
    if limit:
        return _too_many(limit)
    if not hmac.compare_digest(request.form.get("password", "").encode(), _config().password.encode()):
        return render_template("login.html", error=SIGN_IN_FAILED), 401
    with suppress(PyMongoError):  # otherwise the earlier attempts keep counting for a while
        attempts.forget(visitor, OF_VISITOR)
    next_url = session.get("next", "/")
    session.clear()  # a CSRF token from before the sign-in becomes invalid
    session["signed_in"] = True
    answer = redirect(next_url, 303)
    answer.set_cookie(
        BROWSER,
        _browsers().dumps(browser or secrets.token_urlsafe(12)),
        max_age=BROWSER_SECONDS,
        path=url_for("sign_in.login"),
        secure=_config().secure_cookie,
        httponly=True,
        samesite="Lax",
    )
    return answer


@sign_in.post("/logout")
def logout() -> ResponseReturnValue:
    """Sign out this browser."""
    session.clear()
    return redirect(url_for("sign_in.login"), 303)


def signed_in() -> bool:
    """Whether this browser has signed in; without a password, which is possible on loopback only, every browser has."""
    return not _config().password or session.get("signed_in") is True


def csrf_token() -> str:
    """The session's CSRF token, created on first use."""
    token = session.setdefault("csrf", secrets.token_urlsafe(32))
    assert isinstance(token, str)
    return token


def _too_many(limit: Limit) -> ResponseReturnValue:
    return render_template("login.html", error=TOO_MANY[limit]), 429, {"Retry-After": str(limit.seconds)}


def _known_browser() -> str:
    """Return the browser's id if someone has signed in there with the current password, else an empty string."""
    try:
        return str(_browsers().loads(request.cookies.get(BROWSER, ""), max_age=BROWSER_SECONDS))
    except BadData:
        return ""


def _browsers() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_config().session_key, salt=BROWSER)


def _has_token() -> bool:
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    expected = session.get("csrf", "")
    return bool(expected) and hmac.compare_digest(sent.encode(), expected.encode())


def _config() -> Config:
    config = current_app.config["SLIPWAY"]
    assert isinstance(config, Config)
    return config
