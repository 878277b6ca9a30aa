"""Middleware: limits on request bodies, HEAD, metrics, and a handler for unexpected errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from typing import Any

from fastapi.security.utils import get_authorization_scheme_param
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from launcher.api import problems
from launcher.domain.errors import NotAuthenticated
from launcher.metrics import HTTP_SECONDS, expose

MAX_BODY_BYTES = 1 << 20
BODY_SECONDS = 30.0
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.ASCII | re.IGNORECASE)
log = logging.getLogger(__name__)


class HeadAsGet:
    """Answers HEAD like GET without a body, which is not even generated.

    `Range` applies only to GET (RFC 9110, 14.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise _HeaderSent

        with contextlib.suppress(_HeaderSent):
            headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
            await self._app({**scope, "method": "GET", "headers": headers}, receive, send_header)


class _HeaderSent(Exception):
    """Stops the application before it generates a body."""


class RequestMetrics:
    """Measures each response by route, not by path: run ids make the number of paths unbounded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        expose(HTTP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                HTTP_SECONDS.labels(scope["method"], route, message["status"]).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, watch)


class UnexpectedErrors:
    """Answers an unexpected error with a problem without details; the traceback goes to the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if started or scope["type"] != "http":  # the server logs it and closes the connection
                raise
            log.exception("%s %s", scope["method"], scope["path"])
            text = "An unexpected error occurred. The launcher's log has the details."
            await problems.response(problems.problem(500, text))(scope, receive, send)


class LoopbackOnly:
    """In development without a secret, accepts only loopback host names and no changes by web pages of other origins.

    A browser lets any page send requests to this machine. A page whose host name resolves to loopback (DNS rebinding)
    sends that name in `Host`; requests of any other page carry their origin.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...] = ()) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] == "http" and (refusal := self._refusal(scope["method"], Headers(scope=scope))):
            await problems.response(refusal)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> dict[str, Any] | None:
        host = headers.get("host", "")
        if not _LOOPBACK.fullmatch(host):
            text = "Without RUNNER_API_SECRET, the launcher only accepts the hosts 127.0.0.1, localhost and [::1]."
            return problems.problem(421, text)
        if method in _SAFE_METHODS:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        own = origin in (None, f"http://{host}") and site in ("none", "same-origin")
        if not own and origin not in self._origins:
            text = "Without RUNNER_API_SECRET, requests from other origins are denied. Add the origin to CORS_ORIGINS."
            return problems.problem(403, text)
        return None


class BodyLimit:
    """Limits request bodies to 1 MiB and 30 seconds, and reads them only from authenticated callers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        body: bytes | None = b""
        if _may_send_body(scope):  # the route refuses anyone else, without the body
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read_body(receive)
            except TimeoutError:
                text = f"The request body did not arrive within {BODY_SECONDS:g} seconds. Send it again."
                await problems.response(problems.problem(408, text), {"Connection": "close"})(scope, receive, send)
                return
        if body is None:
            return
        if len(body) > MAX_BODY_BYTES:
            text = f"The request body is larger than {MAX_BODY_BYTES} bytes. Send a smaller one."
            await problems.response(problems.problem(413, text))(scope, receive, send)
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, cut off once it exceeds the limit; None if the client has disconnected."""
    body = bytearray()
    while len(body) <= MAX_BODY_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _may_send_body(scope: Scope) -> bool:
    scheme, credential = get_authorization_scheme_param(Headers(scope=scope).get("authorization"))
    try:
        principal = scope["app"].state.services.authenticator.principal(
            credential if scheme.lower() == "bearer" else None
        )
    except NotAuthenticated:
        return False
    return principal.run_id is None
