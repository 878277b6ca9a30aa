"""The pages while the launcher is down or rejects the front end."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from flask.testing import FlaskClient
from pymongo import MongoClient

from frontend.messages import POSTINGS_UNAVAILABLE
from launching import page_texts
from launching.launcher import Launcher
from launching.pages import HX, browser_of, buttons_of, states_of, text_of


def test_launcher_outage_shows_postings_and_advice(alone: FlaskClient) -> None:
    page = text_of(alone.get("/jobs"))
    assert "Hafenwerk" in page and "RUNNER_URL" in page
    for path in ("/runs", "/runs/some-run", "/runs/some-run/files/CV.md"):
        assert "RUNNER_URL" in text_of(alone.get(path), 503)
    assert "RUNNER_URL" in text_of(alone.get("/live", headers=HX))
    pressed = alone.post("/api/runner/jobs/run", data={"job_id": "4711"}, headers=HX)
    assert "RUNNER_URL" in text_of(pressed, 503) and "HX-Retarget" not in pressed.headers
    polled = alone.get("/api/runner/jobs/some-run/status", headers=HX)
    assert "RUNNER_URL" in text_of(polled, 503) and polled.headers["HX-Retarget"] == "#notice"


def test_launcher_outage_shows_unknown_statuses_and_disables_buttons(alone: FlaskClient) -> None:
    page = text_of(alone.get("/jobs"))
    assert set(states_of(page).values()) == {"unknown"} and page_texts.NOT_YET_RUN not in page
    assert list(buttons_of(page).values()) == [False] * 3
    assert "RUNNER_URL" in page and "data-away" in page
    assert re.search('<button id="bulk-process" disabled', page)
    for status in ("new", "completed"):
        assert POSTINGS_UNAVAILABLE in text_of(alone.get(f"/jobs?status={status}"), 503)


def test_launcher_outage_keeps_final_statuses_from_the_database(mongodb_uri: str) -> None:
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        items = client["jobs"]["level-2"]
        items.insert_one({"jobId": 1, "pipeline_run_id": "1-a", "pipeline_status": "completed"})
        items.insert_one({"jobId": 2, "pipeline_run_id": "2-a", "pipeline_status": "running"})
        items.insert_one({"jobId": 3})
    browser = browser_of("http://127.0.0.1:9", "s" * 32, MONGODB_URI=mongodb_uri)
    page = text_of(browser.get("/jobs"))
    assert states_of(page) == {"1": "completed", "2": "unknown", "3": "unknown"}
    assert buttons_of(page) == {"1": False, "2": False, "3": False}
    for database in ("attempts", "postings"):
        browser.application.extensions[database].close()


def test_open_page_shows_a_launcher_outage_and_recovers(
    browser: FlaskClient, alone: FlaskClient, launcher: Launcher
) -> None:
    done = launcher.wait(launcher.run("4713", pipeline="quick")["run_id"])["run_id"]
    shown = ["new  4711", "running 4712-x 4712", f"completed {done} 4713"]
    page = text_of(alone.get("/live", query_string={"shown": shown}, headers=HX))
    assert states_of(page) == {"4711": "unknown", "4712": "unknown"}, "a final status never changes"
    assert "data-away" in page and not any(buttons_of(page).values())
    shown = [unescape(found) for found in re.findall(r'name="shown" value="([^"]*)"', page)]
    assert shown == ["unknown  4711", "unknown 4712-x 4712"]
    again = text_of(alone.get("/live", query_string={"shown": shown}, headers=HX))
    assert states_of(again) == {}, "unchanged rows are not sent again"
    back = browser.get("/live", query_string={"shown": shown}, headers=HX)
    assert back.headers["HX-Trigger"] == "launcher-back" and "data-away" not in text_of(back)
    assert 'hx-trigger="launcher-back from:body"' in text_of(browser.get("/jobs"))
    quiet = browser.get("/live", query_string={"shown": [f"completed {done} 4713"]}, headers=HX)
    assert "HX-Trigger" not in quiet.headers


def test_rejected_credentials_name_the_setting(launcher: Launcher) -> None:
    stranger = browser_of(launcher.url, "x" * 32)
    assert "RUNNER_API_SECRET" in text_of(stranger.get("/runs"), 502)
    pressed = stranger.post("/api/runner/jobs/run", data={"job_id": "4711"}, headers=HX)
    assert "RUNNER_API_SECRET" in text_of(pressed, 502)
