"""The launcher's calls as the browser reaches them: the secret stays on the server."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
from flask import Blueprint, Response, abort, current_app, request, url_for
from flask.sansio.blueprints import BlueprintSetupState

from frontend import connection
from frontend.api.standalone import environment_config, is_cross_site
from frontend.config import Config
from frontend.keys import keyed
from frontend.messages import UNREACHABLE
from frontend.row_state import read_shown
from frontend.streaming import RETRY, until

runner = Blueprint("runner", __name__)

ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 20.0  # the launcher sends a comment every 15 s
TRIES = 3
PAUSE_SECONDS = 0.2
AWAY = frozenset({502, 503, 504})  # the launcher, or what stands before it, is not there just now
ASKED = ("Range", "If-Range", "If-None-Match", "If-Modified-Since")
PASSED_ON = (
    "Content-Type",
    "Content-Disposition",
    "Retry-After",
    "ETag",
    "Last-Modified",
    "Accept-Ranges",
    "Content-Range",
)
PROBLEM = "application/problem+json"
MOST_REFUSAL_BYTES = 65536
GATEWAY = "What stands before the launcher answered {status}, not the launcher itself. Check that it is up."
HARDENED = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


def _configure(state: BlueprintSetupState) -> None:
    """Take the front end's settings; in any other app read those of the environment, once."""
    state.app.extensions["runner"] = state.app.config.get("SLIPWAY") or environment_config(os.environ)


runner.record(_configure)


@runner.before_request
def refuse_other_sites() -> None:
    """Refuse a change that another site's page asks for; whether somebody is signed in, the app itself must check."""
    if is_cross_site(request):
        abort(403, "This request comes from another site. Repeat it on this site's own page.")


@runner.post("/api/runner/jobs/run")
def trigger_run() -> Response:
    """Start one run; form or JSON."""
    return _call("POST", "jobs", "run", body=_sent() if request.is_json else _fields())


@runner.post("/api/runner/jobs/run-bulk")
def trigger_bulk_run() -> Response:
    """Start one run for each selected job; form fields `selected_jobs` (or `job_ids`), or JSON.

    Where the form says what is `shown` of a job, that is the same press as the job's own *Process*.
    """
    if request.is_json:
        return _call("POST", "jobs", "run-bulk", body=_sent())
    lists = {name: request.form.getlist(name) for name in ("job_ids", "selected_jobs", "shown")}
    items = keyed(lists["job_ids"] + lists["selected_jobs"], read_shown(lists["shown"]))
    safe = not any(isinstance(item, str) for item in items)
    return _call("POST", "jobs", "run-bulk", body=_fields(*lists) | {"job_ids": items}, safe=safe)


@runner.get("/api/runner/jobs/<run_id>/status")
def get_run_status(run_id: str) -> Response:
    """The run as it is now."""
    return _call("GET", "jobs", run_id, "status")


@runner.delete("/api/runner/jobs/<run_id>")
def cancel_run(run_id: str) -> Response:
    """Ask that the run ends; asked twice, it is the same."""
    return _call("DELETE", "jobs", run_id)


@runner.post("/api/runner/jobs/<run_id>/ticket")
def make_ticket(run_id: str) -> Response:
    """Where the browser follows this one run, for the next ten minutes: `stream_url`, `log_url`, `artifacts_url`.

    With RUNNER_PUBLIC_URL they lead straight to the launcher, and `query` is what to add to each; else they lead here.
    """
    answer = _call("POST", "jobs", run_id, "ticket")
    if answer.status_code != 200:
        return answer
    ticket = json.loads(answer.get_data())
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
    """One file that the run made; the browser may not run what is in it."""
    return _download("artifacts", run_id, filename)


@runner.get("/api/runner/jobs/<run_id>/logs")
def stream_logs(run_id: str) -> Response:
    """The log as server-sent events, from `Last-Event-ID` or `?after=` on; it ends before the platform ends it."""
    headers = {name: request.headers[name] for name in ("Last-Event-ID",) if name in request.headers}
    after = {"after": request.args["after"]} if "after" in request.args else {}
    deadline = time.monotonic() + _config().stream_seconds
    try:
        client, answer = _open(SILENCE_SECONDS, headers, after, "jobs", run_id, "logs")
    except httpx.TransportError:
        return Response(_away(), mimetype="text/event-stream")
    if answer.status_code != 200:
        body, status = _rest(client, answer)
        if status in AWAY:
            return Response(_away(), mimetype="text/event-stream")
        return Response(body, status, _passed_on(answer))
    end = threading.Timer(deadline - time.monotonic(), _hang_up, [answer])
    end.daemon = True
    end.start()

    def events() -> Iterator[bytes]:
        try:
            yield from until(deadline, answer.iter_raw(), time.monotonic)
        except httpx.TransportError:
            if time.monotonic() < deadline:
                yield _away()

    def close() -> None:  # also of a stream that nobody began to read
        end.cancel()
        answer.close()
        client.close()

    response = Response(events(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})
    response.call_on_close(close)
    return response


def _open(
    silence: float, headers: dict[str, str], params: dict[str, str], *parts: str
) -> tuple[httpx.Client, httpx.Response]:
    """A call whose answer comes piece by piece, as the launcher sends it; the caller closes both."""
    client = connection.client(httpx.Timeout(ANSWER_SECONDS, read=silence))
    sent = _headers() | {"Accept-Encoding": "identity"} | headers
    try:
        return client, client.send(client.build_request("GET", _url(*parts), params=params, headers=sent), stream=True)
    except BaseException:
        client.close()
        raise


def _rest(client: httpx.Client, answer: httpx.Response) -> tuple[bytes, int]:
    """A refusal, read whole; one that breaks off counts as a launcher that is away."""
    try:
        return answer.read(), answer.status_code
    except httpx.TransportError:
        return b"", 503
    finally:
        answer.close()
        client.close()


def _hang_up(answer: httpx.Response) -> None:
    """End the wait for a stream that is quiet: its reader sees the end at once."""
    connection = answer.extensions["network_stream"].get_extra_info("socket")
    with suppress(OSError):  # it has ended already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not TLS's own, which no other thread may call


def _download(*parts: str) -> Response:
    """A file of any size, or the asked part of it, never whole in memory; one cut short is told by its length."""
    asked = {name: request.headers[name] for name in ASKED if name in request.headers}
    try:
        client, answer = _open(ANSWER_SECONDS, asked, {}, *parts)
    except httpx.TransportError:
        abort(503, UNREACHABLE)
    if answer.status_code >= 400 and answer.status_code != 416:
        abort(answer.status_code, _refusal(client, answer))

    def close() -> None:
        answer.close()
        client.close()

    headers = _passed_on(answer)
    if length := answer.headers.get("Content-Length"):
        headers["Content-Length"] = length
    response = Response(answer.iter_raw(), answer.status_code, headers)
    response.call_on_close(close)
    return response


def _refusal(client: httpx.Client, answer: httpx.Response) -> str:
    """Why a file is refused, in the launcher's words; a gateway's page is not passed on."""
    body = b""
    with suppress(httpx.TransportError):
        for piece in answer.iter_bytes():
            body = (body + piece)[:MOST_REFUSAL_BYTES]
            if len(body) == MOST_REFUSAL_BYTES:
                break
    answer.close()
    client.close()
    with suppress(ValueError):
        problem = json.loads(body) if answer.headers.get("Content-Type", "").startswith(PROBLEM) else {}
        if isinstance(problem, dict) and problem.get("detail"):
            return str(problem["detail"])
    return GATEWAY.format(status=answer.status_code)


def _away() -> bytes:
    """An event in place of an error status, which would end the browser's EventSource for good."""
    return RETRY + b"event: away\ndata: " + json.dumps({"message": UNREACHABLE}).encode() + b"\n\n"


def _call(method: str, *parts: str, body: dict[str, Any] | None = None, safe: bool = False) -> Response:
    """The launcher's answer, problem details and all; a call that is safe to repeat is tried again."""
    headers = _headers()
    if key := request.headers.get("Idempotency-Key"):
        headers["Idempotency-Key"] = key
    tries = TRIES if method in {"GET", "DELETE"} or key or safe else 1
    for left in reversed(range(tries)):
        try:
            with connection.client(ANSWER_SECONDS / tries) as client:
                answer = client.request(method, _url(*parts), json=body, headers=headers)
        except httpx.TransportError:
            if not left:
                return _problem(503, "Launcher unreachable", UNREACHABLE)
        else:
            if "json" in answer.headers.get("Content-Type", ""):
                return Response(answer.content, answer.status_code, _passed_on(answer))
            if not left or answer.status_code not in AWAY:
                status = answer.status_code if answer.is_error else 502
                return _problem(status, "No launcher there", GATEWAY.format(status=answer.status_code))
        time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last try answers")


def ask(
    *parts: str,
    method: str = "GET",
    params: dict[str, str | int] | None = None,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """The launcher's answer to a question of our own; TransportError when it does not answer."""
    sent = _headers() | (headers or {})
    seconds = ANSWER_SECONDS / TRIES
    with connection.client(seconds) as client:
        return client.request(method, _url(*parts), params=params, json=body, headers=sent)


def _sent() -> dict[str, Any]:
    """The JSON that was sent; what is no object, the launcher refuses."""
    sent = request.get_json()
    return sent if isinstance(sent, dict) else {"body": sent}


def _fields(*without: str) -> dict[str, Any]:
    """The form that was sent, as the launcher takes it: what is left empty is not given."""
    return {name: value for name, value in request.form.items() if value and name not in without}


def _config() -> Config:
    config = current_app.extensions["runner"]
    assert isinstance(config, Config)
    return config


def _url(*parts: str) -> httpx.URL:
    """The launcher's address with these path parts, none of which may lead elsewhere."""
    escaped = [part.replace(".", "%2E") if part in {".", ".."} else quote(part, safe="") for part in parts]
    return httpx.URL("/".join([_config().runner_url, *escaped]))


def _headers() -> dict[str, str]:
    secret = _config().runner_secret
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def _passed_on(answer: httpx.Response) -> dict[str, str]:
    return HARDENED | {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}


def _problem(status: int, title: str, detail: str) -> Response:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(problem), status, mimetype=PROBLEM)
