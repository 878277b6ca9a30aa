"""The page of postings: search, pager, and job ids and postings of any form."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from markupsafe import escape

from frontend.keys import launch_key
from launching import page_texts
from launching.launcher import Launcher
from launching.pages import HX, TOKEN, browser_of, buttons_of, key_on, text_of

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


def test_missing_source_of_postings_names_the_setting(launcher: Launcher, tmp_path: Path) -> None:
    browser = browser_of(launcher.url, launcher.secret, tmp_path / "none")
    assert "POSTINGS_DIR" in text_of(browser.get("/jobs"), 503)
