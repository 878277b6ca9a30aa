"""The launcher's calls as the browser reaches them: the secret stays on the server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
from flask import Blueprint, Response, current_app, request

from frontend.config import Config
from frontend.streaming import RETRY, until

runner = Blueprint("runner", __name__)

ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 20.0  # the launcher sends a comment every 15 s
TRIES = 3
PASSED_ON = ("Content-Type", "Content-Disposition", "Retry-After", "ETag")
UNREACHABLE = "The launcher does not answer. Check that it is up, and that RUNNER_URL leads to it."
HARDENED = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


@runner.post("/api/runner/jobs/run")
def trigger_run() -> Response:
    """Start one run; form or JSON."""
    return _call("POST", "/jobs/run", body=_body())


@runner.post("/api/runner/jobs/run-bulk")
def trigger_bulk_run() -> Response:
    """Start one run for each selected job; form fields `selected_jobs` (or `job_ids`), or JSON."""
    return _call("POST", "/jobs/run-bulk", body=_body("job_ids", "selected_jobs"))


@runner.get("/api/runner/jobs/<run_id>/status")
def get_run_status(run_id: str) -> Response:
    """The run as it is now."""
    return _call("GET", f"/jobs/{run_id}/status")


@runner.get("/api/runner/artifacts/<run_id>/<filename>")
def get_artifact(run_id: str, filename: str) -> Response:
    """One file that the run made; the browser may not run what is in it."""
    return _call("GET", f"/artifacts/{run_id}/{filename}")


@runner.get("/api/runner/jobs/<run_id>/logs")
def stream_logs(run_id: str) -> Response:
    """The log as server-sent events, from `Last-Event-ID` or `?after=` on; it ends before the platform ends it."""
    headers = {name: request.headers[name] for name in ("Last-Event-ID",) if name in request.headers}
    after = {"after": request.args["after"]} if "after" in request.args else {}
    config = _config()
    deadline = time.monotonic() + config.stream_seconds
    client = httpx.Client(timeout=httpx.Timeout(ANSWER_SECONDS, read=SILENCE_SECONDS))
    call = client.build_request("GET", _url(f"/jobs/{run_id}/logs"), params=after, headers=_headers() | headers)
    try:
        answer = client.send(call, stream=True)
    except httpx.TransportError:
        client.close()
        return Response(_away(), mimetype="text/event-stream")
    if answer.status_code != 200:
        body = answer.read()
        client.close()
        return Response(body, answer.status_code, _passed_on(answer))

    def events() -> Iterator[bytes]:
        try:
            yield from until(deadline, answer.iter_raw(), time.monotonic)
        except httpx.TransportError:
            yield _away()

    def close() -> None:  # also of a stream that nobody began to read
        answer.close()
        client.close()

    response = Response(events(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})
    response.call_on_close(close)
    return response


def _away() -> bytes:
    """An event in place of an error status, which would end the browser's EventSource for good."""
    return RETRY + b"event: away\ndata: " + json.dumps({"message": UNREACHABLE}).encode() + b"\n\n"


def _call(method: str, path: str, body: dict[str, Any] | None = None) -> Response:
    """The launcher's answer, problem details and all; a call that is safe to repeat is tried again."""
    headers = _headers()
    if key := request.headers.get("Idempotency-Key"):
        headers["Idempotency-Key"] = key
    tries = TRIES if method == "GET" or key else 1
    for left in reversed(range(tries)):
        try:
            answer = httpx.request(method, _url(path), json=body, headers=headers, timeout=ANSWER_SECONDS / tries)
        except httpx.TransportError:
            if not left:
                return _problem(503, "Launcher unreachable", UNREACHABLE)
        else:
            return Response(answer.content, answer.status_code, _passed_on(answer))
    raise AssertionError("the last try answers")


def _body(lists: str = "", alias: str = "") -> dict[str, Any]:
    """What was sent, as the launcher takes it; a list of a form keeps all its values."""
    if request.is_json:
        sent = request.get_json()
        return sent if isinstance(sent, dict) else {"body": sent}
    fields: dict[str, Any] = {
        name: value for name, value in request.form.items() if value and name not in (lists, alias)
    }
    if lists:
        fields[lists] = request.form.getlist(lists) + request.form.getlist(alias)
    return fields


def _config() -> Config:
    config = current_app.config["SLIPWAY"]
    assert isinstance(config, Config)
    return config


def _url(path: str) -> httpx.URL:
    """The launcher's address with `path`, in which no part may lead elsewhere."""
    parts = ["%2E" * len(part) if part in {".", ".."} else part for part in path.split("/")]
    return httpx.URL(_config().runner_url + "/".join(parts).replace("?", "%3F").replace("#", "%23"))


def _headers() -> dict[str, str]:
    secret = _config().runner_secret
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def _passed_on(answer: httpx.Response) -> dict[str, str]:
    return HARDENED | {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}


def _problem(status: int, title: str, detail: str) -> Response:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(problem), status, mimetype="application/problem+json")
