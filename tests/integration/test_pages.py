"""The pages as a browser without scripts and as htmx receive them, with a real launcher behind them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from markupsafe import escape
from pymongo import MongoClient
from werkzeug.test import TestResponse

from frontend.app import create_app
from frontend.keys import launch_key
from frontend.messages import POSTINGS_UNAVAILABLE, RUN_NOT_FOUND, RUNNING, receipt, runs_finished
from frontend.pages import ZONE_COOKIE
from launcher.domain.queue_places import PAUSED
from launcher.domain.reasons import Reason, sentence
from launching import page_texts
from launching.launcher import Launcher
from launching.service_process import ROOT

TOKEN = "the token of this session"
HX = {"HX-Request": "true", "X-CSRF-Token": TOKEN}
WRITER = """
import os
os.chdir(os.environ['APPLICATIONS_DIR'])
open('CV.md', 'w').write('# Mara <b>bold</b> <script>alert(1)</script>')
open('empty.txt', 'w').close()
open('long.txt', 'w').write('x' * 600_000)
"""
PIPELINES: dict[str, dict[str, Any]] = {
    "writer": {
        "command": ["python", "-c", WRITER],
        "artifacts": {"cv_md_url": "CV.md", "empty_url": "empty.txt", "long_url": "long.txt"},
    },
    "quick": {"command": ["python", "-c", "print('<script>')"]},
    "slow": {"command": ["python", "-c", "import time; time.sleep(60)"]},
    "broken": {"command": ["python", "-c", "raise SystemExit(3)"]},
}
HOSTILE: list[dict[str, Any]] = [
    {"jobId": "\"><script>alert('id')</script>", "title": "<img src=x onerror=alert(1)>", "company": "{{ 7 * 7 }}"},
    {"jobId": "a' b", "title": ["one", 2], "url": "javascript:alert(1)"},
    {"title": "Nobody's"},
    {"jobId": True, "company": None},
]
UNUSUAL = [
    'a\'b "c"',
    "a/b",
    "..",
    "../../health",
    "100%",
    "a%2Fb",
    "%00",
    "a&b=c#d?e",
    "<b>",
    "{{ x }}",
    "a\\b",
    "求人",
    "'",
    "日 本",
]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("pages"), PIPELINES, MAX_CONCURRENCY="2") as running:
        yield running


def browser_of(
    url: str, secret: str, postings: Path = ROOT / "pipeline-image/samples/postings", **settings: str
) -> FlaskClient:
    environment = {
        "FRONTEND_PASSWORD": "open sesame, please",
        "RUNNER_API_SECRET": secret,
        "RUNNER_URL": url,
        "POSTINGS_DIR": str(postings),
        **settings,
    }
    browser = create_app(environment, "127.0.0.1").test_client()
    with browser.session_transaction() as session:
        session["signed_in"], session["csrf"] = True, TOKEN
    return browser


@pytest.fixture
def browser(launcher: Launcher) -> FlaskClient:
    return browser_of(launcher.url, launcher.secret)


@pytest.fixture
def alone() -> FlaskClient:
    """A front end whose launcher is not running."""
    return browser_of("http://127.0.0.1:9", "s" * 32)


def text_of(answer: TestResponse, status: int = 200) -> str:
    text = answer.get_data(as_text=True)
    assert answer.status_code == status, text
    return text


def key_on(page: str, job_id: str) -> str:
    """The idempotency key that the job's button sends."""
    button = re.search(rf'<button id="process-{job_id}".*?</button>', page, re.DOTALL)
    assert button
    headers = re.search(r"hx-headers='(.*?)'", button[0])
    assert headers
    found: str = json.loads(unescape(headers[1]))["Idempotency-Key"]
    return found


def test_home_page_lists_postings_with_process_buttons(browser: FlaskClient) -> None:
    assert browser.get("/").headers["Location"] == "/jobs"
    page = text_of(browser.get("/jobs"))
    assert all(company in page for company in ("Hafenwerk", "Grünfeld", "Kreisklinikum"))
    assert page.count('name="selected_jobs"') == 3 and 'id="bulk-process"' in page
    assert f"0 of 2 {page_texts.SLOTS_IN_USE}" in page


def test_search_filters_postings_and_reports_no_match(browser: FlaskClient) -> None:
    page = text_of(browser.get("/jobs?q=hafenwerk&status=nonsense&page=-5"))
    assert "Hafenwerk" in page and "Grünfeld" not in page
    assert page_texts.NO_POSTINGS in text_of(browser.get("/jobs?q=nothing+like+this"))
    assert page_texts.NO_MORE_POSTINGS in text_of(browser.get("/jobs?page=99"))


def test_pager_links_keep_all_query_parameters(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.json").write_text(json.dumps({"jobId": number, "title": "Engineer & more"}))
    browser = browser_of("http://127.0.0.1:9", "s" * 32, tmp_path)
    page = unescape(text_of(browser.get("/jobs?q=engineer+%26&page=2&endpoint=x&_external=1")))
    assert re.findall(r'rel="(\w+)" href="/jobs\?(.*?)"', page) == [
        ("prev", "q=engineer+%26&page=1&endpoint=x&_external=1"),
        ("next", "q=engineer+%26&page=3&endpoint=x&_external=1"),
    ]


def test_process_in_two_tabs_launches_one_run(browser: FlaskClient, launcher: Launcher) -> None:
    key = key_on(text_of(browser.get("/jobs")), "4711")
    answers = [
        text_of(browser.post("/api/runner/jobs/run", data={"job_id": "4711"}, headers=HX | {"Idempotency-Key": key}))
        for _ in range(2)
    ]
    [run_id] = {found for answer in answers for found in re.findall(r"/runs/([^\"]+)", answer)}
    launcher.wait(run_id)
    again = key_on(text_of(browser.get("/jobs")), "4711")
    assert again == launch_key("4711", run_id) != key


def test_process_and_process_selected_launch_one_run(browser: FlaskClient, launcher: Launcher) -> None:
    def runs_of(answer: TestResponse) -> set[str]:
        return set(re.findall(r'id="status-4712".*?href="/runs/([^"]+)"', text_of(answer), re.DOTALL))

    def press_selected(page: str) -> set[str]:
        shown = [unescape(found) for found in re.findall(r'name="shown" value="([^"]*)"', page)]
        data = {"selected_jobs": ["4712"], "shown": shown}
        return runs_of(browser.post("/api/runner/jobs/run-bulk", data=data, headers=HX))

    def press_alone(page: str) -> set[str]:
        headers = HX | {"Idempotency-Key": key_on(page, "4712")}
        answer = browser.post("/api/runner/jobs/run", data={"job_id": "4712"}, headers=headers)
        return set(re.findall(r'href="/runs/([^"]+)"', text_of(answer)))

    made = set()
    for presses in ([press_alone, press_selected], [press_selected, press_alone], [press_selected, press_selected]):
        page = text_of(browser.get("/jobs"))
        [run_id] = set().union(*(press(page) for press in presses))
        launcher.wait(run_id)
        made.add(run_id)
    assert len(made) == 3, "a page that shows the earlier run launches another"


def test_htmx_gets_fragments_and_others_get_json(browser: FlaskClient, launcher: Launcher) -> None:
    started = browser.post("/api/runner/jobs/run", data={"job_id": "4712"}, headers=HX)
    assert "queued" in text_of(started) and "Job 4712 is queued" in started.headers["HX-Trigger"]
    plain = browser.post("/api/runner/jobs/run", json={"job_id": "4712"}, headers={"X-CSRF-Token": TOKEN})
    launcher.wait(plain.get_json()["run_id"])


def test_process_selected_shows_one_progress_bar_and_names_rejected_jobs(
    browser: FlaskClient, launcher: Launcher
) -> None:
    data = {"selected_jobs": ["4711", "4712", " not so "]}
    page = text_of(browser.post("/api/runner/jobs/run-bulk", data=data, headers=HX))
    assert runs_finished(0, 2) in page and 'id="status-4711"' in page
    assert page_texts.NOT_STARTED in page and "space" in page
    run_ids = re.search(r'hx-get="(/batch[^"]+)"', page)
    assert run_ids
    deadline = time.monotonic() + 30
    while "2 of 2" not in (bar := text_of(browser.get(unescape(run_ids[1]), headers=HX))):
        assert time.monotonic() < deadline, bar
        time.sleep(0.1)
    assert "2 completed" in bar and "hx-trigger" not in bar


def test_url_of_the_jobs_page_contains_the_last_batch(browser: FlaskClient, launcher: Launcher) -> None:
    data = {"selected_jobs": ["4711", "4712"]}
    here = "http://localhost/jobs?q=a+b&batch=before&page=1"
    pressed = browser.post("/api/runner/jobs/run-bulk", data=data, headers=HX | {"HX-Current-URL": here})
    address = pressed.headers["HX-Replace-Url"]
    run_ids = re.findall(r'id="status-.*?href="/runs/([^"]+)"', text_of(pressed), re.DOTALL)
    assert address == f"/jobs?q=a+b&page=1&batch={'.'.join(run_ids)}" and len(run_ids) == 2
    assert f'hx-get="/batch?batch={".".join(run_ids)}" hx-trigger="load, ' in text_of(browser.get(address))
    none = {"selected_jobs": [" not so "]}
    refused = browser.post("/api/runner/jobs/run-bulk", data=none, headers=HX | {"HX-Current-URL": here})
    assert refused.headers["HX-Replace-Url"] == "/jobs?q=a+b&page=1"
    for elsewhere in ({}, {"HX-Current-URL": "http://localhost/other"}, {"HX-Current-URL": "nonsense"}):
        answer = browser.post("/api/runner/jobs/run-bulk", data=none, headers=HX | elsewhere)
        assert answer.status_code == 200 and "HX-Replace-Url" not in answer.headers
    for run_id in run_ids:
        launcher.wait(run_id)


def test_batch_counts_unknown_runs_as_finished_and_an_empty_one_is_404(
    browser: FlaskClient, alone: FlaskClient, launcher: Launcher
) -> None:
    run_id = launcher.wait(launcher.run("4713", pipeline="quick")["run_id"])["run_id"]
    bar = text_of(browser.get(f"/batch?batch={run_id}.gone-1", headers=HX))
    assert runs_finished(2, 2) in bar and "1 completed, 1 not found" in bar
    assert "hx-trigger" not in bar
    assert browser.get("/batch?batch=%3Cscript%3E").status_code == 404
    assert 'id="batch"' not in text_of(browser.get("/jobs?batch=%3Cscript%3E..&batch=x"))
    assert alone.get(f"/batch?batch={run_id}", headers=HX).status_code == 204, "the bar stays and keeps polling"


def test_poll_returns_only_changed_rows(browser: FlaskClient, launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("4713", pipeline="quick")["run_id"])
    stale, fresh = "new  4713", f"completed {run['run_id']} 4713"
    assert 'id="status-4713"' in text_of(browser.get("/live", query_string={"shown": stale}, headers=HX))
    page = text_of(browser.get("/live", query_string={"shown": [fresh, "hostile", ""]}, headers=HX))
    assert 'id="status-4713"' not in page and page_texts.SLOTS_IN_USE in page


def test_hostile_postings_are_escaped(launcher: Launcher, tmp_path: Path) -> None:
    for number, document in enumerate(HOSTILE):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    browser = browser_of(launcher.url, launcher.secret, tmp_path)
    page = text_of(browser.get("/jobs"))
    assert "<img" not in page and "<script>alert" not in page and "javascript:" not in page
    assert "{{ 7 * 7 }}" in page and "one 2" in page and page.count(page_texts.NO_JOB_ID) == 2
    values = [json.loads(unescape(found))["job_id"] for found in re.findall(r"hx-vals='(.*?)'", page)]
    assert values == [document["jobId"] for document in HOSTILE[:2]]
    targets = re.findall(r'hx-target="#(status-[^"]*)"', page)
    assert all(re.fullmatch("status-x-[0-9a-f]{16}", target) and f'id="{target}"' in page for target in targets)
    refused = browser.post("/api/runner/jobs/run", data={"job_id": HOSTILE[1]["jobId"] + "\0"}, headers=HX)
    assert "control characters" in text_of(refused, 422)


@pytest.mark.parametrize("job_id", UNUSUAL)
def test_unusual_job_id_works_in_buttons_keys_links_and_polls(launcher: Launcher, tmp_path: Path, job_id: str) -> None:
    (tmp_path / "1.json").write_text(json.dumps({"jobId": job_id, "title": "Engineer"}))
    browser = browser_of(launcher.url, launcher.secret, tmp_path)
    page = text_of(browser.get("/jobs"))
    [values] = [json.loads(unescape(found)) for found in re.findall(r"hx-vals='(.*?)'", page)]
    [box] = re.findall(r'name="selected_jobs" value="([^"]*)"', page)
    [shown] = re.findall(r'name="shown" value="([^"]*)"', page)
    [anchor] = re.findall(r'<button id="process-([^"]+)"', page)
    assert values == {"job_id": job_id} and unescape(box) == job_id and unescape(shown) == f"new  {job_id}"
    key = key_on(page, anchor)
    assert key == launch_key(job_id, "")
    data = {"selected_jobs": unescape(box), "shown": unescape(shown)}
    made = set()
    for answer in (
        browser.post("/api/runner/jobs/run", data=values, headers=HX | {"Idempotency-Key": key}),
        browser.post("/api/runner/jobs/run-bulk", data=data, headers=HX),
    ):
        made |= set(re.findall(r'href="/runs/([^"]+)"', text_of(answer)))
    [run_id] = made
    assert launcher.wait(run_id)["job_id"] == job_id
    polled = text_of(browser.get("/live", query_string={"shown": unescape(shown)}, headers=HX))
    assert f'id="status-{anchor}"' in polled and f'href="/runs/{run_id}"' in polled
    history = text_of(browser.get("/runs"))
    [link] = re.findall(rf'id="job-of-{run_id}" href="([^"]+)"', history)
    assert run_id in text_of(browser.get(unescape(link)))
    again = browser.post(f"/runs/{run_id}/again", data={"csrf_token": TOKEN, "last_run": run_id})
    second = launcher.wait(again.headers["Location"].rpartition("/")[2])
    assert second["job_id"] == job_id and second["run_id"] != run_id
    assert f"<h1>{escape(f'Job {job_id}')}</h1>" in text_of(browser.get(f"/runs/{second['run_id']}"))


def test_zero_width_joiners_in_a_job_id_reach_the_launcher(launcher: Launcher, tmp_path: Path) -> None:
    job_id = "\U0001f468\N{ZERO WIDTH JOINER}\U0001f469\N{ZERO WIDTH JOINER}\U0001f467 می\N{ZERO WIDTH NON-JOINER}خواهم"
    (tmp_path / "1.json").write_text(json.dumps({"jobId": job_id}))
    browser = browser_of(launcher.url, launcher.secret, tmp_path)
    page = text_of(browser.get("/jobs"))
    [shown] = re.findall(r'name="shown" value="([^"]*)"', page)
    assert unescape(shown) == f"new  {job_id}"
    [values] = [json.loads(unescape(found)) for found in re.findall(r"hx-vals='(.*?)'", page)]
    assert values == {"job_id": job_id}
    through = browser.post("/api/runner/jobs/run", data=values, headers={"X-CSRF-Token": TOKEN})
    assert through.status_code == launcher.client.post("/jobs/run", json=values).status_code


@pytest.mark.parametrize("text", ["\ud83d", "a\x00b", "\ufeff", "\u202eabc"])
def test_malformed_posting_does_not_hide_others(launcher: Launcher, tmp_path: Path, text: str) -> None:
    (tmp_path / "1.json").write_text(json.dumps({"jobId": text, "title": text, "company": text}))
    (tmp_path / "2.json").write_text(json.dumps({"jobId": 4712, "title": "Engineer"}))
    browser = browser_of(launcher.url, launcher.secret, tmp_path)
    page = text_of(browser.get("/jobs"))
    assert "Engineer" in page and len(buttons_of(page)) == (1 if text == "\ud83d" else 2)


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


def buttons_of(page: str) -> dict[str, bool]:
    """Each job with a button, and whether the button is enabled."""
    found = re.findall(r'<button id="process-([^"]+)"([^>]*)>', page)
    return {job_id: not re.search(r"\bdisabled(?![-\w])", rest) for job_id, rest in found}


def states_of(page: str) -> dict[str, str]:
    """Each job's displayed status."""
    return dict(re.findall(r'<div id="status-([^"]+)".*?<span class="badge [^"]+">([^<]+)</span>', page, re.DOTALL))


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


def test_full_queue_and_reused_key_are_explained(tmp_path: Path) -> None:
    with Launcher(tmp_path, PIPELINES, MAX_CONCURRENCY="1", MAX_QUEUED="1") as launcher:
        browser = browser_of(launcher.url, launcher.secret)
        launcher.client.post("/queue/pause")
        key = {"Idempotency-Key": "k"}
        first = {"job_id": "4711"}
        text_of(browser.post("/api/runner/jobs/run", data=first, headers=HX | key))
        other = browser.post("/api/runner/jobs/run", data=first | {"profile_ref": "senior"}, headers=HX | key)
        assert "newest run" in text_of(other, 409)
        bulk = {"selected_jobs": ["4711"], "shown": "new  4711"}
        used = {"job_id": "4711", "priority": 1}
        launcher.client.delete(f"/jobs/{launcher.client.get('/jobs').json()['runs'][0]['run_id']}")
        launcher.client.post("/jobs/run", json=used, headers={"Idempotency-Key": launch_key("4711", "")})
        answer = text_of(browser.post("/api/runner/jobs/run-bulk", data=bulk, headers=HX))
        assert f"Job 4711 {page_texts.NOT_STARTED}" in answer and "newest run" in answer
        full = browser.post("/api/runner/jobs/run", data={"job_id": "4712"}, headers=HX)
        assert "MAX_QUEUED" in text_of(full, 429) and "Try again in" in text_of(full, 429)


def test_missing_source_of_postings_names_the_setting(launcher: Launcher, tmp_path: Path) -> None:
    browser = browser_of(launcher.url, launcher.secret, tmp_path / "none")
    assert "POSTINGS_DIR" in text_of(browser.get("/jobs"), 503)


def test_polls_redirect_signed_out_browsers_to_the_sign_in_page(browser: FlaskClient) -> None:
    with browser.session_transaction() as session:
        session.pop("signed_in")
    assert browser.get("/live", headers=HX).headers["HX-Redirect"] == "/login"
    polled = browser.get("/api/runner/jobs/some-run/status", headers=HX)
    assert "sign in" in text_of(polled, 401) and polled.headers["HX-Retarget"] == "#notice"


def test_own_errors_render_a_page_or_an_htmx_notice(browser: FlaskClient) -> None:
    page = browser.get("/runs/some-run/files/x.exe", headers=HX)
    assert page.headers["HX-Reselect"] == ".error" and 'class="error"' in text_of(page, 404)
    browser.application.config["PROPAGATE_EXCEPTIONS"] = False
    browser.application.extensions["postings"] = None
    broken = text_of(browser.get("/jobs"), 500)
    assert "Traceback" not in broken and "<h1>" in broken


def test_pages_comply_with_the_content_security_policy(browser: FlaskClient, launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("4713", pipeline="writer")["run_id"])["run_id"]
    for path in ("/jobs", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/files/CV.md", "/nothing"):
        answer = browser.get(path)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        page = answer.get_data(as_text=True)
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|<(script|link|img)[^>]*//", page), path
        assert launcher.secret not in page
