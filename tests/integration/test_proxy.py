from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from frontend.api.runner import runner
from frontend.app import create_app
from frontend.config import read_config
from launching.launcher import Launcher


def browser_of(url: str, secret: str, seconds: str = "50") -> FlaskClient:
    app = Flask("frontend")
    app.config["SLIPWAY"] = read_config(
        {
            "FRONTEND_PASSWORD": "open sesame, please",
            "RUNNER_API_SECRET": secret,
            "RUNNER_URL": url,
            "STREAM_SECONDS": seconds,
        },
        "127.0.0.1",
    )
    app.register_blueprint(runner)
    return app.test_client()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    with Launcher(tmp_path) as started:
        yield started
        started.client.close()


def test_form_starts_a_run_whose_log_and_artifact_are_proxied(launcher: Launcher) -> None:
    browser = browser_of(launcher.url, launcher.secret)
    started = browser.post("/api/runner/jobs/run", data={"job_id": "4711"})
    assert started.status_code == 200
    run_id = started.get_json()["run_id"]
    log = browser.get(f"/api/runner/jobs/{run_id}/logs", buffered=True).get_data(as_text=True)
    assert "Starting pipeline" in log
    assert "event: end" in log
    resumed = browser.get(f"/api/runner/jobs/{run_id}/logs", headers={"Last-Event-ID": "1"}, buffered=True).get_data(
        as_text=True
    )
    assert "id: 1\n" not in resumed and "id: 2\n" in resumed
    assert browser.get(f"/api/runner/jobs/{run_id}/status").get_json()["status"] == "completed"
    assert browser.get(f"/api/runner/artifacts/{run_id}/CV.md", buffered=True).get_data(as_text=True).startswith("#")


def test_form_starts_all_selected_jobs(launcher: Launcher) -> None:
    browser = browser_of(launcher.url, launcher.secret)
    answer = browser.post("/api/runner/jobs/run-bulk", data={"selected_jobs": ["4711", "4712"]})
    assert answer.status_code == 200
    assert launcher.secret not in json.dumps(answer.get_json())


def test_problem_details_keep_their_status(launcher: Launcher) -> None:
    browser = browser_of(launcher.url, launcher.secret)
    assert browser.get("/api/runner/jobs/unknown-run/status").status_code == 404
    assert browser.get("/api/runner/jobs/%2e%2e/status").status_code in {404, 422}
    assert browser_of(launcher.url, "x" * 32).get("/api/runner/jobs/unknown-run/status").status_code == 401


def test_unreachable_launcher_is_reported_and_streams_send_retry() -> None:
    browser = browser_of("http://127.0.0.1:9", "s" * 32)
    answer = browser.post("/api/runner/jobs/run", json={"job_id": "4711"})
    assert answer.status_code == 503
    assert "RUNNER_URL" in json.loads(answer.get_data())["detail"]
    stream = browser.get("/api/runner/jobs/some-run/logs")
    assert stream.status_code == 200
    assert stream.get_data(as_text=True).startswith("retry: 1000\n\nevent: away\n")


def test_download_supports_head_and_resuming(launcher: Launcher) -> None:
    browser = browser_of(launcher.url, launcher.secret)
    run_id = launcher.wait(launcher.run("4711")["run_id"])["run_id"]
    path = f"/api/runner/artifacts/{run_id}/CV.md"
    whole = browser.get(path, buffered=True)
    head = browser.head(path, buffered=True)
    assert (head.status_code, head.get_data()) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.get_data()))
    part = browser.get(path, headers={"Range": "bytes=10-"}, buffered=True)
    assert (part.status_code, part.get_data()) == (206, whole.get_data()[10:])
    beyond = browser.get(path, headers={"Range": "bytes=99999999-"}, buffered=True)
    assert beyond.status_code == 416
    same = browser.get(path, headers={"If-None-Match": whole.headers["ETag"]}, buffered=True)
    assert same.status_code in {200, 304}


def test_download_error_is_a_page_for_people_and_a_problem_for_scripts(launcher: Launcher) -> None:
    environment = {
        "FRONTEND_PASSWORD": "open sesame, please",
        "RUNNER_API_SECRET": launcher.secret,
        "RUNNER_URL": launcher.url,
    }
    browser = create_app(environment, "127.0.0.1").test_client()
    with browser.session_transaction() as session:
        session["signed_in"] = True
    path = "/api/runner/artifacts/no-such-run/CV.md"
    page = browser.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page.mimetype) == (404, "text/html") and "run" in page.get_data(as_text=True)
    problem = browser.get(path, headers={"Accept": "*/*"})
    assert (problem.status_code, problem.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize("status", [403, 404, 502, 503])
def test_gateway_error_is_reported_without_its_page(status: int) -> None:
    with peer(status) as (url, seen, _):
        browser = create_app(
            {"FRONTEND_PASSWORD": "open sesame, please", "RUNNER_API_SECRET": "s", "RUNNER_URL": url}, "::1"
        ).test_client()
        with browser.session_transaction() as session:
            session["signed_in"] = True
        for path in ("jobs/some-run/status", "jobs/some-run/log", "artifacts/some-run/CV.md"):
            answer = browser.get(f"/api/runner/{path}")
            assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
            assert f"answered {status}" in json.loads(answer.get_data())["detail"]
    assert seen.count("/jobs/some-run/status") == (3 if status in {502, 503} else 1)  # safe to repeat


@pytest.mark.parametrize(("shown", "calls"), [(["new  4711", "new  4712"], 3), (["new  4711"], 1), ([], 1)])
def test_bulk_call_is_retried_only_if_every_item_has_a_key(shown: list[str], calls: int) -> None:
    with peer(503) as (url, seen, _):
        data = {"selected_jobs": ["4711", "4712"], "shown": shown}
        assert browser_of(url, "s" * 32).post("/api/runner/jobs/run-bulk", data=data).status_code == 503
    assert seen == ["/jobs/run-bulk"] * calls


def test_ticket_urls_point_to_a_public_launcher(launcher: Launcher) -> None:
    environment = {
        "FRONTEND_PASSWORD": "open sesame, please",
        "RUNNER_API_SECRET": launcher.secret,
        "RUNNER_URL": launcher.url,
    }
    browser = create_app(environment | {"RUNNER_PUBLIC_URL": launcher.url}, "127.0.0.1").test_client()
    with browser.session_transaction() as session:
        session.update(signed_in=True, csrf="token")
    run_id = launcher.wait(launcher.run("4711")["run_id"])["run_id"]
    answer = browser.post(f"/api/runner/jobs/{run_id}/ticket", headers={"X-CSRF-Token": "token"})
    ticket = answer.get_json()
    assert launcher.secret not in answer.get_data(as_text=True)
    with httpx.Client(trust_env=False) as stranger:  # without any header
        for url in (ticket["stream_url"], ticket["log_url"], ticket["artifacts_url"] + "CV.md"):
            assert stranger.get(f"{url}?{ticket['query']}").status_code == 200
            assert stranger.get(url).status_code == 401
    policy = browser.get("/login").headers["Content-Security-Policy"]
    assert f"connect-src 'self' {launcher.url};" in policy
    unknown = browser.post("/api/runner/jobs/no-such-run/ticket", headers={"X-CSRF-Token": "token"})
    assert (unknown.status_code, unknown.mimetype) == (404, "application/problem+json")


@contextmanager
def peer(status: int) -> Iterator[tuple[str, list[str], threading.Event]]:
    """A real server that answers each call with this status; a 200 stream stays idle until the event is set."""
    seen: list[str] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(status)
            self.end_headers()
            if status == 200:
                self.wfile.write(b"id: 1\ndata: one\n\n")
                over.wait(30)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.path)
            self.send_response(status)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen, over
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join(30)


def test_idle_stream_ends_at_its_deadline() -> None:
    with peer(200) as (url, _, over):
        log = browser_of(url, "s" * 32, "1").get("/api/runner/jobs/some-run/logs", buffered=True)
        assert not over.is_set()
        assert log.get_data() == b"retry: 1000\n\nid: 1\ndata: one\n\n"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_error_does_not_close_the_event_source(status: int) -> None:
    with peer(status) as (url, _, _):
        log = browser_of(url, "s" * 32).get("/api/runner/jobs/some-run/logs", buffered=True)
    assert log.status_code == 200
    assert log.get_data(as_text=True).startswith("retry: 1000\n\nevent: away\n")


@pytest.mark.parametrize("run_id", ["a%252Fb", "%252e%252e%252Fhealth", "a%253Fb", "a%2523b"])
def test_run_id_cannot_change_the_path(run_id: str) -> None:
    with peer(404) as (url, seen, _):
        browser_of(url, "s" * 32).get(f"/api/runner/jobs/{run_id}/status")
    assert seen == [f"/jobs/{run_id}/status"]


def test_log_ticket_and_cancel_are_proxied(launcher: Launcher) -> None:
    browser = browser_of(launcher.url, launcher.secret)
    run_id = browser.post("/api/runner/jobs/run", json={"job_id": "4711"}).get_json()["run_id"]
    assert browser.post(f"/api/runner/jobs/{run_id}/ticket").get_json()["stream_url"].endswith(f"{run_id}/logs")
    assert browser.delete(f"/api/runner/jobs/{run_id}").get_json()["run_id"] == run_id
    assert "event: end" in browser.get(f"/api/runner/jobs/{run_id}/logs", buffered=True).get_data(as_text=True)
    assert browser.get(f"/api/runner/jobs/{run_id}/log", buffered=True).status_code == 200


def test_runs_page_shows_runs_or_an_unreachable_launcher(launcher: Launcher) -> None:
    for url, status, shown in ((launcher.url, 200, "4711"), ("http://127.0.0.1:9", 503, "RUNNER_URL")):
        if url == launcher.url:
            browser_of(url, launcher.secret).post("/api/runner/jobs/run", json={"job_id": "4711"})
        environment = {
            "FRONTEND_PASSWORD": "open sesame, please",
            "RUNNER_API_SECRET": launcher.secret,
            "RUNNER_URL": url,
        }
        browser = create_app(environment, "127.0.0.1").test_client()
        with browser.session_transaction() as session:
            session["signed_in"] = True
        page = browser.get("/runs")
        assert page.status_code == status and shown in page.get_data(as_text=True)
