"""The progress bar of *Process selected* in a real browser: its runs are in the URL, so it survives a reload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from frontend.messages import NO_RESPONSE, runs_finished
from launching import page_texts
from launching.site import Site

PIPELINES = {"default": {"command": ["python", "-c", "print('done')"], "artifacts": {}}}
SECONDS = 60_000


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    more = [f"more-{n}" for n in range(25)]
    with Site(tmp_path_factory.mktemp("batch"), PIPELINES, postings=more) as running:
        yield running


def press(page: Page, *job_ids: str) -> None:
    """Process the jobs, and wait until their runs are in the URL."""
    before = page.url
    for job_id in job_ids:
        page.get_by_label(f"Select job {job_id}", exact=True).check()
    page.get_by_role("button", name=page_texts.PROCESS_SELECTED).click()
    page.wait_for_url(lambda url: url != before)


def runs_in(page: Page) -> list[str]:
    """The runs in the URL."""
    return parse_qs(urlsplit(page.url).query).get("batch", [""])[0].split(".")


def test_bar_survives_reload_search_and_a_second_tab(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    site.launcher.client.post("/queue/pause")
    page.goto(f"{site.frontend.url}/jobs?status=new")
    press(page, "4711", "4712")
    asked = {run["run_id"] for run in site.launcher.client.get("/jobs").json()["runs"]}
    assert set(runs_in(page)) == asked and "status=new" in page.url
    page.reload()
    bar = page.locator("#batch")
    expect(bar).to_contain_text(runs_finished(0, 2))
    expect(bar).to_contain_text("2 queued")
    page.get_by_role("searchbox", name=page_texts.SEARCH).fill("more")
    page.wait_for_url("**/jobs?q=more*")
    assert set(runs_in(page)) == asked, "a search keeps the bar and the URL parameter"
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#batch")).to_contain_text("2 queued")
    site.launcher.client.post("/queue/resume")
    for each in (page, other):
        expect(each.locator("#batch")).to_contain_text(runs_finished(2, 2), timeout=SECONDS)
        expect(each.locator("#batch")).to_contain_text("2 completed")
    page.reload()
    expect(bar).to_contain_text(runs_finished(2, 2))


def test_bar_stays_on_the_next_page_until_a_new_batch_replaces_it(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    page.goto(f"{site.frontend.url}/jobs")
    boxes = page.locator("[name='selected_jobs']")
    first, second = (str(boxes.nth(n).get_attribute("value")) for n in (0, 1))
    press(page, first)
    [run_id] = runs_in(page)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#batch")).to_contain_text(runs_finished(1, 1), timeout=SECONDS)
    assert runs_in(page) == [run_id] and "page=2" in page.url
    page.get_by_role("link", name="Previous").click()
    press(page, second)
    assert run_id not in runs_in(page) and len(runs_in(page)) == 1
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    expect(page.locator("#batch")).to_have_count(0)


def test_unknown_runs_count_as_finished_and_an_empty_batch_shows_no_bar(
    site: Site, visit: Callable[[Site], Page]
) -> None:
    page = visit(site)
    run_id = site.launcher.wait(site.launcher.run("4711")["run_id"])["run_id"]
    page.goto(f"{site.frontend.url}/jobs?batch={run_id}.gone-1.gone-2.%3Cscript%3E")
    expect(page.locator("#batch")).to_contain_text(runs_finished(3, 3))
    expect(page.locator("#batch")).to_contain_text("1 completed, 2 not found")
    for nothing in ("", "%3Cscript%3E", ".."):
        page.goto(f"{site.frontend.url}/jobs?batch={nothing}")
        expect(page.get_by_label("Select job 4711", exact=True)).to_be_visible()
        expect(page.locator("#batch")).to_have_count(0)


def test_bar_recovers_from_a_launcher_outage(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    run_id = site.launcher.wait(site.launcher.run("4711")["run_id"])["run_id"]
    site.launcher.kill()
    page.goto(f"{site.frontend.url}/jobs?batch={run_id}")
    expect(page.locator("#batch-bar:not([value])")).to_be_visible()
    expect(page.locator("#live")).to_contain_text(NO_RESPONSE)
    site.launcher.start()
    expect(page.locator("#batch")).to_contain_text(runs_finished(1, 1), timeout=SECONDS)
    expect(page.locator("#notice")).to_be_empty()


def test_batch_of_rejected_jobs_shows_no_bar(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    press(page, "4711")
    site.launcher.client.post("/queue/pause")
    page.reload()
    page.locator("[name='selected_jobs'][value='4712']").evaluate("box => { box.value = '-odd' }")
    page.get_by_label("Select job 4712", exact=True).check()
    page.get_by_role("button", name=page_texts.PROCESS_SELECTED).click()
    expect(page.get_by_text(f"Job -odd {page_texts.NOT_STARTED}.")).to_be_visible()
    expect(page.locator("#batch")).to_have_count(0)
    assert "batch" not in page.url
