"""Errors as RFC 9457 problem details. One table maps errors to HTTP statuses; an error's message says what to do."""

from __future__ import annotations

import errno
import os
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from launcher.domain import errors
from launcher.domain.errors import SlipwayError
from launcher.domain.text import to_json
from launcher.validation_errors import in_words

MEDIA_TYPE = "application/problem+json"
STATUS_OF: dict[type[SlipwayError], int] = {
    errors.IdempotencyConflict: 409,
    errors.InvalidRequest: 422,
    errors.NotFound: 404,
    errors.ArtifactForbidden: 403,
    errors.OutsideFolder: 403,
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.QueueFull: 429,
    errors.TooManyCalls: 429,
    errors.StreamsFull: 503,
    errors.ArchiveUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.ClusterUnavailable: 503,
    errors.ClusterError: 502,
}
_DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR}
)
_RETRY_AFTER_SECONDS = {429: "10", 503: "5"}


def problem(status: int, detail: str, **extensions: Any) -> dict[str, Any]:
    """Return a problem: `type`, `title`, `status`, `detail` and extensions such as `errors`."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **extensions}


def problem_of(error: SlipwayError) -> dict[str, Any]:
    """Return the problem for a `SlipwayError`."""
    status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)
    return problem(status, error.message)


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem."""
    app.add_exception_handler(SlipwayError, _slipway)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _disk)


def response(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Return a problem as a response, with `Retry-After` or `WWW-Authenticate` if its status calls for it."""
    status = body["status"]
    headers = dict(headers or {})
    if status in _RETRY_AFTER_SECONDS:
        headers.setdefault("Retry-After", _RETRY_AFTER_SECONDS[status])
    if status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="slipway"')
    return Response(to_json(body), status, headers, MEDIA_TYPE)


async def _slipway(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, SlipwayError)
    return response(problem_of(exc))


async def _invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    details = [
        {"field": ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0]), "message": in_words(fault)}
        for fault in exc.errors()
    ]
    text = "; ".join(f"{detail['field']}: {detail['message']}" for detail in details[:5])
    return response(problem(422, f"The request is not valid: {text}", errors=details[:100]))


async def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return response(problem(exc.status_code, str(exc.detail)), dict(exc.headers or {}))


async def _disk(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, OSError)
    if exc.errno not in _DISK_ERRORS:
        raise exc  # unexpected
    text = f"The launcher cannot write to its disk: {os.strerror(exc.errno)}. Free some space, then try again."
    return response(problem(503, text))
