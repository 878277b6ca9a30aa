"""The front end as one WSGI application."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from flask import Flask, Request, Response, render_template, request
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix

from frontend import connection
from frontend.api.runner import runner
from frontend.calls import known_runs
from frontend.config import ConfigurationError, read_config
from frontend.messages import PAGE_ERRORS
from frontend.pages import pages
from frontend.postings import open_postings
from frontend.sign_in import csrf_token, sign_in, signed_in
from frontend.sign_in_attempts import Attempts, AttemptsInMemory, AttemptsInMongoDB

MAX_REQUEST_BYTES = 1_000_000  # the launcher's own limit
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'{origin}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(environment: Mapping[str, str], host: str) -> Flask:
    """The application for serving on `host`; ConfigurationError lists what is missing or invalid in the environment."""
    config = read_config(environment, host)
    app = Flask("frontend", root_path=str(Path(__file__).parent))
    app.config.update(
        SLIPWAY=config,
        SECRET_KEY=config.session_key,
        SESSION_COOKIE_NAME="slipway",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.secure_cookie,
        TRUSTED_HOSTS=list(config.hosts) or None,
        MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
    )
    connection.ssl_context()  # fails here if the certificates are unusable
    try:
        app.extensions["attempts"] = _attempts(environment)
        app.extensions["postings"] = open_postings(environment, known_runs)
    except (PyMongoError, ValueError, OSError):  # their messages repeat the URI, password included
        text = "MONGODB_URI: the MongoDB driver rejects the user name, the password or an option after the '?'. "
        text += "Correct it."
        raise ConfigurationError(text) from None
    app.jinja_env.globals.update(csrf_token=csrf_token, signed_in=signed_in)
    app.before_request(_check_host)
    app.register_blueprint(sign_in)
    app.register_blueprint(runner)
    app.register_blueprint(pages)
    app.register_error_handler(HTTPException, _render_error)
    app.after_request(_security_headers(config.public_origin))
    if config.proxies:  # else all visitors would share one address, and its limit of sign-in attempts
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=config.proxies, x_proto=config.proxies)  # type: ignore[method-assign]
    return app


def _attempts(environment: Mapping[str, str]) -> Attempts:
    if uri := environment.get("MONGODB_URI", ""):
        return AttemptsInMongoDB(uri)
    return AttemptsInMemory()


def _security_headers(public_origin: str) -> Callable[[Response], Response]:
    origin = f" {public_origin}" if public_origin else ""
    headers = {name: value.replace("{origin}", origin) for name, value in HEADERS.items()}

    def add_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return add_headers


def _check_host() -> None:
    """Reject a disallowed Host header before anything builds a URL from it."""
    if isinstance(request.routing_exception, SecurityError):
        raise request.routing_exception


def _render_error(error: HTTPException) -> tuple[str, int, dict[str, str]]:
    """Problem details for API calls, a page for people."""
    status = error.code or 500
    title, detail = error.name, error.description
    if detail == type(error).description:  # Werkzeug's own
        title, detail = PAGE_ERRORS.get(status, (title, detail))
    if isinstance(error, SecurityError):  # a page would contain URLs with the rejected host
        return "This host is not listed in FRONTEND_HOSTS.\n", status, {"Content-Type": "text/plain"}
    if request.path.startswith("/api/") and not _wants_html(request):
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        return json.dumps(problem), status, {"Content-Type": "application/problem+json"}
    return render_template("error.html", title=title, detail=detail, status=status), status, {}


def _wants_html(request: Request) -> bool:
    """Whether a person reads the response, for example after clicking a download link; scripts accept */* or JSON."""
    return request.accept_mimetypes.best_match(["application/problem+json", "text/html"]) == "text/html"
