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
from frontend.attempts import Attempts, AttemptsInMemory, AttemptsInMongoDB
from frontend.calls import known_runs
from frontend.config import ConfigurationError, read_config
from frontend.pages import pages
from frontend.postings import open_postings
from frontend.sign_in import csrf_token, sign_in, signed_in

MOST_BYTES = 1_000_000  # of a request: the launcher takes no more
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'{origin}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(environment: Mapping[str, str], host: str) -> Flask:
    """The application for serving on `host`; ConfigurationError says what is missing in the environment."""
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
        MAX_CONTENT_LENGTH=MOST_BYTES,
    )
    connection.trusted()
    try:
        app.extensions["attempts"] = _attempts(environment)
        app.extensions["postings"] = open_postings(environment, known_runs)
    except (PyMongoError, ValueError, OSError):  # their texts repeat what they were given
        text = "MONGODB_URI: MongoDB's driver refuses an option after the ? or a combination of them; correct them"
        raise ConfigurationError(text) from None
    app.jinja_env.globals.update(csrf_token=csrf_token, signed_in=signed_in)
    app.before_request(_known_address)
    app.register_blueprint(sign_in)
    app.register_blueprint(runner)
    app.register_blueprint(pages)
    app.register_error_handler(HTTPException, _error)
    app.after_request(_secured_by(config.public_origin))
    if config.proxies:  # else all visitors would share one address, and with it the limit of attempts
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=config.proxies, x_proto=config.proxies)  # type: ignore[method-assign]
    return app


def _attempts(environment: Mapping[str, str]) -> Attempts:
    if uri := environment.get("MONGODB_URI", ""):
        return AttemptsInMongoDB(uri)
    return AttemptsInMemory()


def _secured_by(public_origin: str) -> Callable[[Response], Response]:
    origin = f" {public_origin}" if public_origin else ""
    headers = {name: value.replace("{origin}", origin) for name, value in HEADERS.items()}

    def secured(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return secured


def _known_address() -> None:
    """Refuse a wrong Host before anything looks for its way with it."""
    if isinstance(request.routing_exception, SecurityError):
        raise request.routing_exception


def _error(error: HTTPException) -> tuple[str, int, dict[str, str]]:
    """Problem details for calls, a page for people."""
    status = error.code or 500
    if isinstance(error, SecurityError):  # a page would need the address that is refused
        return "This address is not one of FRONTEND_HOSTS.\n", status, {"Content-Type": "text/plain"}
    if request.path.startswith("/api/") and not _reads(request):
        problem = {"type": "about:blank", "title": error.name, "status": status, "detail": error.description}
        return json.dumps(problem), status, {"Content-Type": "application/problem+json"}
    return render_template("error.html", title=error.name, detail=error.description, status=status), status, {}


def _reads(request: Request) -> bool:
    """Whether a person reads the answer, as when a link to a file is followed; a script says */* or JSON."""
    return request.accept_mimetypes.best_match(["application/problem+json", "text/html"]) == "text/html"
