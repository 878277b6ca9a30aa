"""Proxy routes to the launcher: the browser calls them, and the secret stays on the server."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from math import inf
from typing import Any
from urllib.parse import quote

import httpx
from flask import Blueprint, Response, abort, current_app, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.exceptions import default_exceptions

from frontend import answers, connection
from frontend.api.standalone import environment_config, is_cross_site
from frontend.config import Config
from frontend.keys import bulk_items
from frontend.messages import UNREACHABLE, unexpected
from frontend.row_state import read_shown
from frontend.streaming import RETRY, until

runner = Blueprint("runner", __name__)

TIMEOUT_SECONDS = 30.0
STREAM_READ_SECONDS = 20.0  # the launcher sends a comment every 15 s
TRIES = 3
PAUSE_SECONDS = 0.2
UNAVAILABLE = frozenset({502, 503, 504})  # from the launcher, or from a proxy in front of it
DOWNLOADS = frozenset({200, 206, 304, 416})
REQUEST_HEADERS = ("Range", "If-Range", "If-None-Match", "If-Modified-Since")
RESPONSE_HEADERS = (
    "Content-Type",
    "Content-Disposition",
    "Retry-After",
    "ETag",
    "Last-Modified",
    "Accept-Ranges",
    "Content-Range",
)
PROBLEM = "application/problem+json"
MAX_ERROR_BYTES = 65536
MAX_ANSWER_BYTES = 32 << 20
GATEWAY = "A proxy in front of the launcher answered {status}. Check that the launcher is running."
HARDENED = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


def _configure(state: BlueprintSetupState) -> None:
    """Use the front end's settings; in any other app, read the environment once."""
    state.app.extensions["runner"] = state.app.config.get("SLIPWAY") or environment_config(os.environ)


runner.record(_configure)


@runner.before_request
def refuse_cross_site() -> None:
    """Reject changes requested by another site's page; sign-in is up to the app."""
    if is_cross_site(request):
        abort(403, "Cross-site request rejected. Repeat the action on this site's own page.")


@runner.post("/api/runner/jobs/run")
def trigger_run() -> Response:
    """Start one run; form or JSON."""
    return _call("POST", "jobs", "run", body=_json_body() if request.is_json else _form_fields())


@runner.post("/api/runner/jobs/run-bulk")
def trigger_bulk_run() -> Response:
    """Start one run for each selected job; form fields `selected_jobs` (or `job_ids`), or JSON.

    A job whose row the form includes as `shown` gets the idempotency key of that row's *Process* button.
    """
    if request.is_json:
        return _call("POST", "jobs", "run-bulk", body=_json_body())
    lists = {name: request.form.getlist(name) for name in ("job_ids", "selected_jobs", "shown")}
    items = bulk_items(lists["job_ids"] + lists["selected_jobs"], read_shown(lists["shown"]))
    safe = not any(isinstance(item, str) for item in items)
    return _call("POST", "jobs", "run-bulk", body=_form_fields(*lists) | {"job_ids": items}, safe=safe)


@runner.get("/api/runner/jobs/<run_id>/status")
def get_run_status(run_id: str) -> Response:
    """The run's current status."""
    return _call("GET", "jobs", run_id, "status")


@runner.delete("/api/runner/jobs/<run_id>")
def cancel_run(run_id: str) -> Response:
    """Cancel a run; idempotent."""
    return _call("DELETE", "jobs", run_id)


@runner.post("/api/runner/jobs/<run_id>/ticket")
def make_ticket(run_id: str) -> Response:
    """The URLs of this run's stream, log and artifacts, valid for ten minutes.

    With RUNNER_PUBLIC_URL they point to the launcher, and `query` must be appended to each; else to this blueprint.
    """
    answer = _call("POST", "jobs", run_id, "ticket")
    if answer.status_code != 200:
        return answer
    ticket = answers.parse(answer.get_data())
    if not answers.conforms(ticket, answers.TICKET):
        problem = unexpected()
        return _problem(problem.status, problem.title, problem.text)
    base, of_run = _config().public_url, quote(run_id, safe="")
    here = {
        "stream_url": url_for(".stream_logs", run_id=run_id),
        "log_url": url_for(".get_log", run_id=run_id),
        "artifacts_url": url_for(".get_artifact", run_id=run_id, filename="-").removesuffix("-"),
    }
    there = {
        "stream_url": f"{base}/jobs/{of_run}/logs",
        "log_url": f"{base}/jobs/{of_run}/log",
        "artifacts_url": f"{base}/artifacts/{of_run}/",
    }
    document = {
        "ticket": ticket["ticket"] if base else None,
        "expires_in_seconds": ticket["expires_in_seconds"],
        "query": f"ticket={quote(ticket['ticket'], safe='')}" if base else "",
        **(there if base else here),
    }
    return Response(json.dumps(document), mimetype="application/json")


@runner.get("/api/runner/jobs/<run_id>/log")
def get_log(run_id: str) -> Response:
    """The whole log as text."""
    return _download("jobs", run_id, "log")


@runner.get("/api/runner/artifacts/<run_id>/<filename>")
def get_artifact(run_id: str, filename: str) -> Response:
    """One of the run's artifacts; its headers keep the browser from executing it."""
    return _download("artifacts", run_id, filename)


@runner.get("/api/runner/jobs/<run_id>/logs")
def stream_logs(run_id: str) -> Response:
    """The log as server-sent events after `Last-Event-ID` or `?after=`; closes before the platform's timeout."""
    headers = _forwarded("Last-Event-ID")
    after = {"after": request.args["after"]} if "after" in request.args else {}
    deadline = time.monotonic() + _config().stream_seconds
    try:
        client, answer = _open_stream(STREAM_READ_SECONDS, headers, after, "jobs", run_id, "logs")
    except httpx.TransportError:
        return Response(_unavailable_event(), mimetype="text/event-stream")
    if answer.status_code != 200:
        body, status = _read_error(client, answer)
        if status in UNAVAILABLE:
            return Response(_unavailable_event(), mimetype="text/event-stream")
        return Response(body, _error_status(status), _response_headers(answer))
    end = threading.Timer(deadline - time.monotonic(), _shut_down, [answer])
    end.daemon = True
    end.start()

    def events() -> Iterator[bytes]:
        try:
            yield from until(deadline, answer.iter_raw(), time.monotonic)
        except httpx.TransportError:
            if time.monotonic() < deadline:
                yield _unavailable_event()

    def close() -> None:  # also if nobody started to read the stream
        end.cancel()
        answer.close()
        client.close()

    response = Response(events(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})
    response.call_on_close(close)
    return response


def _open_stream(
    read_timeout: float, headers: dict[str, bytes], params: dict[str, str], *parts: str
) -> tuple[httpx.Client, httpx.Response]:
    """A call whose response is streamed; the caller closes both."""
    client = connection.client(httpx.Timeout(TIMEOUT_SECONDS, read=read_timeout))
    sent = _headers() | headers
    try:
        return client, client.send(client.build_request("GET", _url(*parts), params=params, headers=sent), stream=True)
    except BaseException:
        client.close()
        raise


def _read_error(client: httpx.Client, answer: httpx.Response) -> tuple[bytes, int]:
    """Read an error response completely; a broken connection counts as 503."""
    try:
        return b"".join(_limited(answer.iter_raw(), MAX_ERROR_BYTES)), answer.status_code
    except httpx.TransportError:
        return b"", 503
    finally:
        answer.close()
        client.close()


def _shut_down(answer: httpx.Response) -> None:
    """Close the connection of an idle stream: its reader sees the end at once."""
    connection = answer.extensions["network_stream"].get_extra_info("socket")
    with suppress(OSError):  # it is already closed
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not SSLSocket.shutdown, which is not thread-safe


def _download(*parts: str) -> Response:
    """Stream a file of any size, or a range of it; Content-Length reveals a truncated download."""
    try:
        client, answer = _open_stream(TIMEOUT_SECONDS, _forwarded(*REQUEST_HEADERS), {}, *parts)
    except httpx.TransportError:
        abort(503, UNREACHABLE)
    if answer.status_code not in DOWNLOADS:
        abort(_error_status(answer.status_code), _error_detail(client, answer))

    def close() -> None:
        answer.close()
        client.close()

    pieces = answer.iter_raw()
    try:
        first = next(pieces, b"")  # before the headers, so that an error can still be reported
    except httpx.TransportError:
        close()
        abort(503, UNREACHABLE)
    headers = _response_headers(answer)
    if length := answer.headers.get("Content-Length"):
        headers["Content-Length"] = length
    response = Response(chain([first], pieces), answer.status_code, headers)
    response.call_on_close(close)
    return response


def _error_detail(client: httpx.Client, answer: httpx.Response) -> str:
    """The detail of the launcher's error response; a proxy's error page is not forwarded."""
    body = b""
    with suppress(httpx.TransportError):
        body = b"".join(_limited(answer.iter_raw(), MAX_ERROR_BYTES))
    answer.close()
    client.close()
    problem = answers.parse(body) if answer.headers.get("Content-Type", "").startswith(PROBLEM) else {}
    if isinstance(problem, dict) and problem.get("detail"):
        return str(problem["detail"])
    return GATEWAY.format(status=answer.status_code)


def _unavailable_event() -> bytes:
    """An event in place of an error status, after which the browser's EventSource would not reconnect."""
    return RETRY + b"event: away\ndata: " + json.dumps({"message": UNREACHABLE}).encode() + b"\n\n"


def _call(method: str, *parts: str, body: dict[str, Any] | None = None, safe: bool = False) -> Response:
    """Forward a call to the launcher, retrying it if that is safe; error responses are forwarded too."""
    key = _forwarded("Idempotency-Key")
    tries = TRIES if method in {"GET", "DELETE"} or key or safe else 1
    for remaining in reversed(range(tries)):
        try:
            answer = _answer(TIMEOUT_SECONDS / tries, method, *parts, json=body, headers=key)
        except httpx.TransportError:
            if not remaining:
                return _problem(503, "Launcher unreachable", UNREACHABLE)
        else:
            if "json" in answer.headers.get("Content-Type", "") and isinstance(answers.parse(answer.content), dict):
                return Response(answer.content, answer.status_code, _response_headers(answer))
            if not remaining or answer.status_code not in UNAVAILABLE:
                return _problem(
                    _error_status(answer.status_code), "Bad gateway", GATEWAY.format(status=answer.status_code)
                )
        time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns")


def ask(
    *parts: str,
    method: str = "GET",
    params: dict[str, str | int] | None = None,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """The launcher's response to a call by the pages; TransportError if it does not respond."""
    return _answer(TIMEOUT_SECONDS / TRIES, method, *parts, params=params, json=body, headers=headers)


def _answer(seconds: float, method: str, *parts: str, headers: Mapping[str, Any] | None, **what: Any) -> httpx.Response:
    """The launcher's response, read within this time and cut off at `MAX_ANSWER_BYTES`."""
    deadline = time.monotonic() + seconds
    sent = {**_headers(), **(headers or {})}
    with connection.client(seconds) as client, client.stream(method, _url(*parts), headers=sent, **what) as answer:
        body = b"".join(_limited(answer.iter_raw(), MAX_ANSWER_BYTES, deadline))
    return httpx.Response(answer.status_code, headers=httpx.Headers(_response_headers(answer), "latin-1"), content=body)


def _limited(pieces: Iterable[bytes], limit: int, deadline: float = inf) -> Iterator[bytes]:
    """The pieces up to this many bytes; `ReadTimeout` after the deadline."""
    for piece in pieces:
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer took too long")
        yield piece[:limit]
        limit -= len(piece)
        if limit <= 0:
            return


def _error_status(status: int) -> int:
    """The status for the browser if the launcher answered with this one; 502 if it is not a standard error status."""
    return status if status in default_exceptions and status != 500 else 502


def _json_body() -> dict[str, Any]:
    """The request's JSON object; any other value is wrapped, and the launcher rejects it."""
    body = answers.parse(request.get_data())
    if body is None:
        abort(400, "The request body is not valid JSON.")
    return body if isinstance(body, dict) else {"body": body}


def _forwarded(*names: str) -> dict[str, bytes]:
    """The request's headers with these names, unless they are empty; as bytes, because they can be any."""
    return {name: request.headers[name].encode("latin-1") for name in names if request.headers.get(name)}


def _form_fields(*excluded: str) -> dict[str, Any]:
    """The request's form fields, without empty ones."""
    return {name: value for name, value in request.form.items() if value and name not in excluded}


def _config() -> Config:
    config = current_app.extensions["runner"]
    assert isinstance(config, Config)
    return config


def _url(*parts: str) -> httpx.URL:
    """The launcher's URL with these path segments, escaped so that none can change the path."""
    escaped = [part.replace(".", "%2E") if part in {".", ".."} else quote(part, safe="") for part in parts]
    return httpx.URL("/".join([_config().runner_url, *escaped]))


def _headers() -> dict[str, Any]:
    secret = _config().runner_secret
    identity = {"Accept-Encoding": "identity"}  # a compressed answer could be far larger than it looks
    return identity | ({"Authorization": f"Bearer {secret}"} if secret else {})


def _response_headers(answer: httpx.Response) -> dict[str, str]:
    headers = httpx.Headers(answer.headers, encoding="latin-1")  # as WSGI has them
    return HARDENED | {name: headers[name] for name in RESPONSE_HEADERS if name in headers}


def _problem(status: int, title: str, detail: str) -> Response:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(problem), status, mimetype=PROBLEM)
