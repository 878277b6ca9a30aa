"""The blueprint in another Flask app, as in the seed and in the front end's README."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from frontend.api.runner import runner
from frontend.config import ConfigurationError
from launching.launcher import Launcher
from launching.service_process import ROOT

RUN = "/api/runner/jobs/run"
HELLO = {"job_id": "4711", "pipeline": "hello"}


@pytest.fixture
def settings(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two variables from the seed."""
    for name in ("FRONTEND_PASSWORD", "SLIPWAY_ENV", "RUNNER_PUBLIC_URL", "MONGODB_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUNNER_URL", launcher.url)
    monkeypatch.setenv("RUNNER_API_SECRET", launcher.secret)


def app_of(**options: Any) -> FlaskClient:
    app = Flask("of_somebody_else")
    app.register_blueprint(runner, **options)
    return app.test_client()


@pytest.mark.usefixtures("settings")
def test_calls_work_with_two_environment_variables(launcher: Launcher) -> None:
    browser = app_of()
    run_id = browser.post(RUN, json=HELLO).get_json()["run_id"]
    launcher.wait(run_id)
    assert browser.get(f"/api/runner/jobs/{run_id}/status").get_json()["status"] == "completed"
    assert "hello" in browser.get(f"/api/runner/jobs/{run_id}/logs", buffered=True).get_data(as_text=True)
    assert browser.get(f"/api/runner/jobs/{run_id}/log", buffered=True).status_code == 200
    form = browser.post(f"{RUN}-bulk", data={"selected_jobs": ["1", "2"], "pipeline": "hello"})
    assert form.get_json()["accepted"] == 2
    assert browser.delete(f"/api/runner/jobs/{run_id}").status_code == 200


@pytest.mark.usefixtures("settings")
def test_ticket_urls_include_the_prefix(launcher: Launcher) -> None:
    browser = app_of(url_prefix="/tools", name="launches")
    run_id = browser.post(f"/tools{RUN}", json=HELLO).get_json()["run_id"]
    launcher.wait(run_id)
    ticket = browser.post(f"/tools/api/runner/jobs/{run_id}/ticket").get_json()
    assert ticket["artifacts_url"] == f"/tools/api/runner/artifacts/{run_id}/"
    for name in ("stream_url", "log_url"):
        assert "hello" in browser.get(ticket[name], buffered=True).get_data(as_text=True)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RUNNER_URL", "", "RUNNER_URL is not set"),
        ("RUNNER_API_SECRET", "", "RUNNER_API_SECRET is not set"),
        ("RUNNER_URL", "runner.example.com", "RUNNER_URL"),
    ],
)
def test_invalid_setting_is_named_at_registration(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said):
        app_of()


@pytest.mark.usefixtures("settings")
def test_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = app_of()
    monkeypatch.delenv("RUNNER_URL")
    monkeypatch.delenv("RUNNER_API_SECRET")
    assert browser.post(RUN, json=HELLO).status_code == 200


def test_blueprint_imports_only_flask_and_httpx() -> None:
    others = {"pymongo", "markdown_it", "gunicorn", "frontend.app", "frontend.pages", "frontend.sign_in"}
    program = f"import sys, frontend.api.runner; print(sorted({others!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://rewritten.example"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_cross_site_change_is_rejected(headers: dict[str, str], status: int) -> None:
    browser = app_of()
    assert browser.post(RUN, data=HELLO, headers=headers).status_code == status
    assert browser.delete("/api/runner/jobs/none", headers=headers).status_code == (404 if status == 200 else 403)
    assert browser.get("/api/runner/jobs/none/status", headers=headers).status_code == 404, "links may lead here"


@pytest.mark.usefixtures("settings")
def test_readme_app_requires_sign_in_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the example")
    monkeypatch.setenv("PASSWORD", "the harbour master")
    example = re.search("```python\n(.*?)```", (ROOT / "frontend/README.md").read_text(), re.DOTALL)
    assert example
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example[1], "README.md", "exec"), names)
    browser: FlaskClient = names["app"].test_client()

    def token() -> str:
        found = re.search(r'(?:Token": "|name="csrf_token" value=")([\w-]+)"', browser.get("/sign-in").text)
        found = re.search(r'Token": "([\w-]+)"', browser.get("/").text) or found
        assert found
        return found[1]

    assert browser.get("/").location == "/sign-in"
    assert browser.get("/api/runner/jobs/none/status").status_code == 401
    assert browser.post(RUN, json=HELLO, headers={"X-CSRF-Token": token()}).status_code == 401
    assert browser.post("/sign-in", data={"password": "the harbour master"}).status_code == 403
    wrong = browser.post("/sign-in", data={"password": "guess", "csrf_token": token()})
    assert wrong.status_code == 200 and browser.get("/").location == "/sign-in"
    assert browser.post("/sign-in", data={"password": "the harbour master", "csrf_token": token()}).location == "/"
    assert browser.post(RUN, json=HELLO).status_code == 403
    assert browser.post(RUN, json=HELLO, headers={"X-CSRF-Token": token()}).status_code == 200
