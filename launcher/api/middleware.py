"""What stands before the routes: bounds on bodies, answers to HEAD, measures, and a net for unexpected errors."""

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
    """Answers HEAD as GET without a body: as soon as the header is there, the rest is not even begun.

    `Range` counts for GET alone (RFC 9110, 14.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
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
    """Ends what would make a body."""


class RequestMetrics:
    """Measures each answer by route, never by path: paths contain run ids, of which there is no end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        expose(HTTP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
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
    """Answers what nobody expected as a problem without details; the log has the traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
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
    """In development without a secret: answers to loopback host names alone, and lets no foreign page change anything.

    A browser takes any page's calls to this machine. A page whose name was made to lead here (DNS rebinding) sends
    that name as the host; any other page's calls say where they come from.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...] = ()) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] == "http" and (refusal := self._refusal(scope["method"], Headers(scope=scope))):
            await problems.response(refusal)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> dict[str, Any] | None:
        host = headers.get("host", "")
        if not _LOOPBACK.fullmatch(host):
            text = "Without RUNNER_API_SECRET the launcher answers to 127.0.0.1, localhost and [::1] alone."
            return problems.problem(421, text)
        if method in _SAFE_METHODS:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        own = origin in (None, f"http://{host}") and site in ("none", "same-origin")
        if not own and origin not in self._origins:
            text = "Without RUNNER_API_SECRET no web page of another origin may call. Name its origin in CORS_ORIGINS."
            return problems.problem(403, text)
        return None


class BodyLimit:
    """Reads request bodies up to a mebibyte, within half a minute, and only from callers with a good credential."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        body: bytes | None = b""
        if _may_send_a_body(scope):  # others are refused by their route, whatever they send
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read(receive)
            except TimeoutError:
                text = f"The body did not arrive within {BODY_SECONDS:g} seconds."
                await problems.response(problems.problem(408, text), {"Connection": "close"})(scope, receive, send)
                return
        if body is None:
            return
        if len(body) > MAX_BODY_BYTES:
            text = f"The body is larger than {MAX_BODY_BYTES} bytes."
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


async def _read(receive: Receive) -> bytes | None:
    """Return the body, or more of it than may be; None where the principal has gone."""
    body = bytearray()
    while len(body) <= MAX_BODY_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _may_send_a_body(scope: Scope) -> bool:
    scheme, credential = get_authorization_scheme_param(Headers(scope=scope).get("authorization"))
    try:
        principal = scope["app"].state.services.authenticator.principal(
            credential if scheme.lower() == "bearer" else None
        )
    except NotAuthenticated:
        return False
    return principal.run_id is None
