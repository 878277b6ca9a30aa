"""Whatever answers at RUNNER_URL, pages and proxy show a problem; and whatever a browser sends, it is not a 500."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from flask.testing import FlaskClient

from frontend.app import create_app

RUN_ID = "a-01kav3mq8w3n0d3k2h7f6s9x1c"
RUN: dict[str, Any] = {
    "run_id": RUN_ID,
    "job_id": "4711",
    "profile_ref": None,
    "pipeline": "default",
    "status": "completed",
    "reason": "Completed",
    "message": None,
    "exit_code": 0,
    "queue": None,
    "created_at": "2026-11-24T08:00:00Z",
    "started_at": "2026-11-24T08:00:00",
    "completed_at": "2026-11-24T08:00:00Z",
    "artifacts": {},
    "log": {"lines": 1, "bytes": 1, "complete": True, "gaps": []},
}
CALLS = [
    *(("GET", path) for path in ("/jobs", "/runs", "/live?shown=running+x+4711", f"/batch?batch={RUN_ID}")),
    *(("GET", f"/runs/{RUN_ID}{path}") for path in ("", "/files/CV.md")),
    ("POST", f"/runs/{RUN_ID}/again"),
    *(("POST", f"/api/runner/jobs/{path}") for path in ("run", "run-bulk", f"{RUN_ID}/ticket")),
    *(("GET", f"/api/runner/jobs/{RUN_ID}/{path}") for path in ("status", "log", "logs")),
    ("GET", f"/api/runner/artifacts/{RUN_ID}/CV.md"),
    ("DELETE", f"/api/runner/jobs/{RUN_ID}"),
]


def http(body: object = b"", head: bytes = b"", status: str = "200 OK", kind: bytes = b"application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = b"Content-Length: %d\r\n" % len(content)
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\n%b%b\r\n%b" % (status.encode(), kind, length, head, content)


ANSWERS = {
    "empty object": http({}),
    "list": http([]),
    "nested too deep": http(b"[" * 100_000),
    "integer too long": http(b'{"total": ' + b"9" * 5000 + b"}"),
    "half of a surrogate pair": http({**RUN, "runs": [], "total": 0, "message": "\ud83d"}),
    "half of a surrogate pair in a problem": http({"detail": "\ud83d"}, status="422 No"),
    "runs of wrong types": http({**RUN, "runs": [{**RUN, "job_id": 7, "status": [], "log": None}], "total": 1}),
    "run of wrong types": http({**RUN, "artifacts": {"a": None}, "queue": [], "runs": [], "total": 0}),
    "time without a zone": http({**RUN, "runs": [RUN], "total": 1}),
    "no run id": http({**RUN, "run_id": "", "runs": [{**RUN, "run_id": ""}], "total": 1}),
    "no number": http(b'{"runs": [], "total": NaN}'),
    "dates that are none": http({"runs": [], "total": 0, "tz": "UTC", "days": [{"date": "2026-13-45", "counts": {}}]}),
    "not compressed": http(b"plain", b"Content-Encoding: gzip\r\n"),
    "headers in another encoding": http({}, b"ETag: \xff\xe2\x82\xac\r\n", kind=b"\xff\xfe"),
    "error page": http(b"<html>", status="500 Oops", kind=b"text/html"),
    "unknown error": http(b"<html>", status="499 What", kind=b"text/html"),
    "problem that is none": http([], status="500 Oops", kind=b"application/problem+json"),
    "redirection": http(b"", b"Location: http://127.0.0.1:9/\r\n", status="302 Found"),
    "endless wait": http({"detail": "d"}, b"Retry-After: " + b"9" * 5000 + b"\r\n", status="429 Wait"),
    "endless length": http(b"x", b"Content-Range: bytes 0-0/" + b"9" * 5000 + b"\r\n", status="206 Part"),
    "broken chunks": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
}


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that answers every request with these bytes."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(5)
            self.request.recv(65536)
            self.request.sendall(answer)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def browser_of(url: str) -> FlaskClient:
    environment = {"FRONTEND_PASSWORD": "open sesame, please", "RUNNER_API_SECRET": "s" * 32, "RUNNER_URL": url}
    browser = create_app(environment, "127.0.0.1").test_client()
    with browser.session_transaction() as session:
        session.update(signed_in=True, csrf="token")
    return browser


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.api.runner.PAUSE_SECONDS", 0)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_answer_that_the_launcher_never_sends_is_no_error_of_the_front_end(answer: bytes) -> None:
    with answering(answer) as url:
        browser = browser_of(url)
        statuses = {}
        for method, path in CALLS:
            for headers in ({"X-CSRF-Token": "token"}, {"X-CSRF-Token": "token", "HX-Request": "true"}):
                form = {"job_id": "4711", "selected_jobs": "4711"} if method == "POST" else None
                shown = browser.open(path, method=method, headers=headers, data=form, buffered=True)
                statuses[method, path, "HX-Request" in headers] = shown.status_code
                assert "s" * 32 not in shown.get_data(as_text=True)
    assert {call: status for call, status in statuses.items() if status == 500} == {}


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"job_id": "\\ud83d"}', b'{"job_id": NaN}', b"\xff", b""])
def test_json_that_cannot_be_sent_on_is_refused(body: bytes) -> None:
    answer = browser_of("http://127.0.0.1:9").post(
        "/api/runner/jobs/run", data=body, content_type="application/json", headers={"X-CSRF-Token": "token"}
    )
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")


@pytest.mark.parametrize("name", ["Idempotency-Key", "Range", "If-None-Match", "Last-Event-ID"])
def test_header_that_is_not_ascii_is_forwarded(name: str) -> None:
    with answering(http(RUN)) as url:
        browser = browser_of(url)
        for method, path in CALLS[-5:]:
            headers = {name: "\xe9", "X-CSRF-Token": "token"}
            assert browser.open(path, method=method, headers=headers, buffered=True).status_code == 200


def test_page_whose_url_is_none_is_another_sites_or_unknown() -> None:
    with answering(http({"runs": [], "accepted": 0, "refused": 0})) as url:
        browser = browser_of(url)
        call = {"path": "/api/runner/jobs/run-bulk", "data": {"selected_jobs": "4711"}}
        headers = {"X-CSRF-Token": "token", "HX-Request": "true", "HX-Current-URL": "http://[x"}
        assert browser.post(**call, headers=headers).status_code == 200
        assert browser.post(**call, headers={"X-CSRF-Token": "token", "Origin": "http://[x"}).status_code == 403
