"""Process and Process selected: one run per posting, and its progress."""

from __future__ import annotations

import re
import time
from html import unescape
from pathlib import Path

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from frontend.keys import launch_key
from frontend.messages import runs_finished
from launching import page_texts
from launching.launcher import Launcher
from launching.pages import HX, PIPELINES, TOKEN, browser_of, key_on, text_of


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
