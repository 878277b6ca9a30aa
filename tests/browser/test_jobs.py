"""The jobs page in a real browser: process one, five at once, and in two tabs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from frontend.messages import runs_finished
from launcher.api.schemas import JOB_ID_EDGES
from launching import page_texts
from launching.site import Site

MORE = ["5001", "5002", "5003", "5004", "5005", "-odd"]
TABS = [f"tab-{n}" for n in range(8)]
SECONDS = 60_000
Press = Callable[[Page, list[str]], Locator]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("jobs"), postings=MORE + TABS) as running:
        yield running


def test_job_is_processed_watched_and_its_cv_previewed(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    page.get_by_role("button", name=page_texts.process("4711")).click()
    page.get_by_role("link", name=page_texts.watch("4711")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Job 4711")
    lines = page.locator("#logs .line:not(.step)")
    expect(lines.first).to_contain_text("Starting pipeline", timeout=SECONDS)
    before = lines.count()
    expect(page.locator("#run-status .badge")).to_have_text("completed", timeout=SECONDS)
    expect(page.locator("#receipt")).to_contain_text("Log complete")
    expect(page.locator("#progress")).to_contain_text("steps done")
    assert lines.count() >= before
    run = site.launcher.client.get("/jobs", params={"job_id": "4711"}).json()["runs"][0]
    assert page.locator("#logs .line").last.get_attribute("data-n") == str(run["log"]["lines"])
    page.get_by_role("link", name="Preview CV.md").click()
    expect(page.locator("#preview h1").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CV.docx").click()
    assert download.value.suggested_filename == "CV.docx"
    page.get_by_role("button", name=page_texts.RUN_AGAIN).click()
    expect(page.locator("#run-status .badge")).to_have_text("completed", timeout=SECONDS)
    assert site.launcher.client.get("/jobs", params={"job_id": "4711"}).json()["total"] == 2


def test_five_selected_jobs_share_one_progress_bar(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    for job_id in MORE[:5]:
        page.get_by_label(f"Select job {job_id}", exact=True).check()
    expect(page.locator("#selected-count")).to_have_text("5 selected")
    page.get_by_role("button", name=page_texts.PROCESS_SELECTED).click()
    expect(page.get_by_text(runs_finished(5, 5))).to_be_visible(timeout=2 * SECONDS)
    for job_id in MORE[:5]:
        expect(page.get_by_role("link", name=f"Job {job_id}: completed")).to_be_visible(timeout=SECONDS)
        assert site.launcher.client.get("/jobs", params={"job_id": job_id}).json()["total"] == 1


def test_preview_aligns_table_cells(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    writer = (
        "import os; open(os.environ['APPLICATIONS_DIR'] + '/CV.md', 'w').write('| a | b |\\n|:-:|--:|\\n| 1 | 2 |')"
    )
    pipelines = {"default": {"command": ["python", "-c", writer], "artifacts": {"cv_md_url": "CV.md"}}}
    with Site(tmp_path, pipelines) as site:
        page = visit(site)
        run_id = site.launcher.wait(site.launcher.run("4711")["run_id"])["run_id"]
        page.goto(f"{site.frontend.url}/runs/{run_id}")
        page.get_by_role("link", name="Preview CV.md").click()
        for cell, alignment in (("1", "center"), ("2", "right")):
            expect(page.get_by_role("cell", name=cell)).to_have_css("text-align", alignment)
        page.goto(f"{site.frontend.url}/runs/{run_id}/files/CV.md")
        expect(page.get_by_role("cell", name="2")).to_have_css("text-align", "right")


def process_selected(page: Page, job_ids: list[str]) -> Locator:
    for job_id in job_ids:
        page.get_by_label(f"Select job {job_id}", exact=True).check()
    return page.get_by_role("button", name=page_texts.PROCESS_SELECTED)


def process(page: Page, job_ids: list[str]) -> Locator:
    return page.get_by_role("button", name=f"Process job {job_ids[0]}", exact=True)


@pytest.mark.parametrize(
    ("job_ids", "presses"),
    [
        (TABS[0:2], (process, process)),
        (TABS[2:4], (process_selected, process_selected)),
        (TABS[4:6], (process, process_selected)),
        (TABS[6:8], (process_selected, process)),
    ],
    ids=["process twice", "selected twice", "process, selected", "selected, process"],
)
def test_simultaneous_clicks_in_two_tabs_launch_one_run_per_job(
    site: Site, visit: Callable[[Site], Page], job_ids: list[str], presses: tuple[Press, Press]
) -> None:
    first = visit(site)
    second = first.context.new_page()
    second.goto(first.url)
    for page in (first, second):
        page.route("**/live*", lambda route: route.abort())  # neither tab sees the other's click
    buttons = [press(page, job_ids) for press, page in zip(presses, (first, second), strict=True)]
    for button in buttons:
        expect(button).to_be_enabled()
    for button in buttons:  # click in both before either gets a response
        button.evaluate("button => { setTimeout(() => button.click()) }")
    for page in (first, second):
        expect(page.get_by_role("link", name=re.compile(f"Job {job_ids[0]}: "))).to_be_visible()
    others = int(process_selected in presses)
    totals = [site.launcher.client.get("/jobs", params={"job_id": job_id}).json()["total"] for job_id in job_ids]
    assert totals == [1, others]


def test_rejected_job_shows_the_reason_next_to_its_button(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    page.get_by_role("button", name=page_texts.process("-odd")).click()
    problem = page.locator(".problem")
    expect(problem).to_contain_text(JOB_ID_EDGES)


def test_postings_are_filtered_while_typing(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    page.get_by_role("searchbox", name=page_texts.SEARCH).fill("no posting has this")
    expect(page.locator("#postings .empty")).to_be_visible()
    page.get_by_role("link", name=page_texts.CLEAR_FILTERS).click()
    expect(page.get_by_label("Select job 4712")).to_be_visible()
