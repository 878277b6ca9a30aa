"""A run's page and the history of runs."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from frontend.messages import RUN_NOT_FOUND, RUNNING, receipt
from frontend.pages import ZONE_COOKIE
from launcher.domain.queue_places import PAUSED
from launcher.domain.reasons import Reason, sentence
from launching import page_texts
from launching.launcher import Launcher
from launching.pages import HX, PIPELINES, TOKEN, browser_of, text_of


def test_run_page_shows_status_and_receipt(browser: FlaskClient, launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("4713", pipeline="broken")["run_id"])
    page = text_of(browser.get(f"/runs/{run['run_id']}"))
    assert (run["log"]["lines"], run["log"]["complete"]) == (1, True)
    assert "exit code 3" in page and "PipelineError" in page and receipt(run) in page
    assert f'data-logs="/api/runner/jobs/{run["run_id"]}/logs"' in page
    assert "every 2s" not in page, "a finished run is not polled"


def test_unchanged_status_is_204_and_a_final_status_stops_polling(browser: FlaskClient, launcher: Launcher) -> None:
    run_id = launcher.run("4713", pipeline="slow")["run_id"]
    path = f"/api/runner/jobs/{run_id}/status"
    seen = ""
    deadline = time.monotonic() + 30
    while RUNNING not in (page := text_of(browser.get(path, headers=HX))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = re.search('name="seen" value="([^"]*)"', page)
    assert found
    seen = unescape(found[1])
    assert browser.get(path, query_string={"seen": seen}, headers=HX).status_code == 204
    cancelled = browser.delete(f"/api/runner/jobs/{run_id}", headers=HX)
    assert "Cancelling" in text_of(cancelled) or "cancelled" in text_of(cancelled)
    launcher.wait(run_id)
    last = browser.get(path, query_string={"seen": seen}, headers=HX)
    assert sentence(Reason.CANCELLED) in text_of(last, 286)


def test_queued_run_shows_its_position(browser: FlaskClient, launcher: Launcher) -> None:
    launcher.client.post("/queue/pause")
    try:
        run_id = launcher.run("4713", pipeline="quick")["run_id"]
        page = text_of(browser.get(f"/runs/{run_id}"))
        assert PAUSED in page and '<dd id="place">1</dd>' in page
        assert PAUSED in text_of(browser.get("/runs"))
    finally:
        launcher.client.post("/queue/resume")
    launcher.wait(run_id)


def test_run_again_launches_one_run_with_the_same_options(browser: FlaskClient, launcher: Launcher) -> None:
    first = launcher.wait(launcher.run("4713", pipeline="quick", profile_ref="senior", params={"depth": 2})["run_id"])
    form = {"csrf_token": TOKEN, "last_run": first["run_id"]}
    places = {browser.post(f"/runs/{first['run_id']}/again", data=form).headers["Location"] for _ in range(2)}
    [place] = places
    second = launcher.wait(place.rpartition("/")[2])
    assert second["run_id"] != first["run_id"] and second["profile_ref"] == "senior"
    assert launcher.client.get(f"/jobs/{second['run_id']}/request").json()["params"] == {"depth": 2}
    assert second["run_id"] in text_of(browser.get(f"/runs/{first['run_id']}")), "the page links to the newer run"
    launcher.wait(launcher.run("4713", pipeline="quick")["run_id"])
    other = browser.post(f"/runs/{second['run_id']}/again", data=form)
    assert other.headers["Location"] == place, "the same key as on the page that showed the first as newest"


def test_previews_show_files_with_escaped_content(browser: FlaskClient, launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("4713", pipeline="writer")["run_id"])["run_id"]
    page = text_of(browser.get(f"/runs/{run_id}"))
    assert all(name in page for name in ("CV.md", "empty.txt", "long.txt"))
    cv = text_of(browser.get(f"/runs/{run_id}/files/CV.md"))
    assert "<h1>Mara &lt;b&gt;bold" in cv and "<script>alert" not in cv
    assert page_texts.EMPTY_FILE in text_of(browser.get(f"/runs/{run_id}/files/empty.txt"))
    long = text_of(browser.get(f"/runs/{run_id}/files/long.txt"))
    assert 'class="warning"' in long and 500_000 < len(long) < 510_000
    for name in ("CV.docx", "none.md", "%2e%2e%2fx.md"):
        assert browser.get(f"/runs/{run_id}/files/{name}").status_code == 404


def test_history_has_filters_and_a_chart(browser: FlaskClient, launcher: Launcher) -> None:
    failed = launcher.wait(launcher.run("charted", pipeline="broken")["run_id"])
    page = text_of(browser.get("/runs?job_id=charted"))
    assert failed["run_id"] in page and "PipelineError" in page and "for job charted" in page
    assert re.search(r"<title>\d+ \w+: \d+ failed</title>", page) and "<caption>" in page
    table = text_of(browser.get("/runs?job_id=charted", headers=HX | {"HX-Target": "runs"}))
    assert failed["run_id"] in table and page_texts.SLOTS_IN_USE not in table, "only the table is rendered"
    assert failed["run_id"] not in text_of(browser.get("/runs?status=cancelled"))
    assert page_texts.NO_RUNS in text_of(browser.get("/runs?job_id=nobody"))
    assert page_texts.NO_MORE_RUNS in text_of(browser.get("/runs?page=999&status=failed"))


def test_chart_counts_every_run_in_the_viewers_time_zone(tmp_path: Path) -> None:
    archive, today = tmp_path / "archive", datetime.now(UTC)
    for number in range(620):
        text = (today - timedelta(days=2 if number < 60 else 0)).isoformat()
        run = {"run_id": f"many-{number}", "job_id": "4711", "status": "completed"}
        (archive / f"many-{number}").mkdir(parents=True)
        record = json.dumps(run | {"created_at": text, "updated_at": text})
        (archive / f"many-{number}" / "run.json").write_text(record)
    with Launcher(tmp_path, PIPELINES) as launcher:
        browser = browser_of(launcher.url, launcher.secret)
        page = text_of(browser.get("/runs"))
        assert "Last 14 days (UTC)" in page and ": 60 completed</title>" in page and ": 560 completed<" in page
        for zone, named in (("Asia/Tokyo", "Asia/Tokyo"), ("Mars/Base", "UTC"), ("<b>", "UTC"), ("x" * 999, "UTC")):
            browser.set_cookie(ZONE_COOKIE, zone)
            assert f"Last 14 days ({named})" in text_of(browser.get("/runs"))


@pytest.mark.parametrize("path", ["/runs/nothing-here", "/runs/%3Cscript%3E", "/runs/%2e%2e", "/runs/" + "x" * 300])
def test_unknown_run_renders_404(browser: FlaskClient, path: str) -> None:
    page = text_of(browser.get(path), 404)
    assert RUN_NOT_FOUND in page and "<script>alert" not in page and "Traceback" not in page
