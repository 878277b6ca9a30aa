"""Signing in: nothing but the sign-in page is reached without it, and every change carries the session's token."""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress

from flask import Blueprint, abort, current_app, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadData, URLSafeTimedSerializer
from pymongo.errors import PyMongoError

from frontend.attempts import OF_ALL, OF_VISITOR, Attempts, Limit, exceeded, visitor_of
from frontend.config import Config

sign_in = Blueprint("sign_in", __name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"sign_in.login", "static"})
MOST_WANTED = 1500  # characters; a cookie has 4096
WRONG = "That is not the password."
NO_DATABASE = "The database that counts attempts does not answer. Check MONGODB_URI, or try again."
TOO_MANY = {
    OF_VISITOR: "Too many attempts. Try again in 15 minutes.",
    OF_ALL: "Too many attempts from many places. Try again in an hour, or in a browser in which you signed in before.",
}
BROWSER = "slipway_browser"
"""The cookie of a browser in which somebody has signed in: others' attempts do not use up its own."""
BROWSER_SECONDS = 180 * 86400


@sign_in.before_app_request
def guard() -> ResponseReturnValue | None:
    """Let signed-in people in, and changes only with the token of their own session."""
    if request.method not in SAFE and not _has_token():
        abort(403, "This page is too old. Load it again, then repeat what you did.")
    if request.endpoint in OPEN or signed_in():
        return None
    if request.path.startswith("/api/"):
        abort(401, "Sign in first.")
    if request.method == "GET" and request.endpoint and "HX-Request" not in request.headers:
        wanted = request.full_path.removesuffix("?")  # one of ours, as it has an endpoint: it leads nowhere else
        session["wanted"] = wanted if len(wanted) <= MOST_WANTED else request.path
    return redirect(url_for("sign_in.login"))


@sign_in.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """The sign-in page, and what its form sends."""
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
        return render_template("login.html", error=WRONG), 401
    with suppress(PyMongoError):  # the attempts so far then count on for a while
        attempts.forget(visitor, OF_VISITOR)
    wanted = session.get("wanted", "/")
    session.clear()  # a token from before the sign-in is worth nothing after it
    session["signed_in"] = True
    answer = redirect(wanted, 303)
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
    """End the session in this browser."""
    session.clear()
    return redirect(url_for("sign_in.login"), 303)


def signed_in() -> bool:
    """Whether this browser may see more than the sign-in page; without a password it is served on loopback alone."""
    return not _config().password or session.get("signed_in") is True


def csrf_token() -> str:
    """The session's token, made when it is first asked for."""
    token = session.setdefault("csrf", secrets.token_urlsafe(32))
    assert isinstance(token, str)
    return token


def _too_many(limit: Limit) -> ResponseReturnValue:
    return render_template("login.html", error=TOO_MANY[limit]), 429, {"Retry-After": str(limit.seconds)}


def _known_browser() -> str:
    """Return the name of the browser, if somebody has signed in there with the password of now; else nothing."""
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
