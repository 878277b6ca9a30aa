"""The bar of *Process selected* in a real browser: the page's address names its runs, so a reload keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from launching.site import Site

PIPELINES = {"default": {"command": ["python", "-c", "print('done')"], "artifacts": {}}}
SECONDS = 60_000


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    more = [f"more-{n}" for n in range(25)]
    with Site(tmp_path_factory.mktemp("batch"), PIPELINES, postings=more) as running:
        yield running


def press(page: Page, *job_ids: str) -> None:
    """Process the jobs, and wait until the address names them."""
    before = page.url
    for job_id in job_ids:
        page.get_by_label(f"Select job {job_id}", exact=True).check()
    page.get_by_role("button", name="Process selected").click()
    page.wait_for_url(lambda url: url != before)


def runs_in(page: Page) -> list[str]:
    """The runs that the address names."""
    return parse_qs(urlsplit(page.url).query).get("batch", [""])[0].split(".")


def test_the_bar_is_there_after_a_reload_in_a_link_and_beside_other_pages(
    site: Site, visit: Callable[[Site], Page]
) -> None:
    page = visit(site)
    site.launcher.client.post("/queue/pause")
    page.goto(f"{site.frontend.url}/jobs?status=new")
    press(page, "4711", "4712")
    asked = {run["run_id"] for run in site.launcher.client.get("/jobs").json()["runs"]}
    assert set(runs_in(page)) == asked and "status=new" in page.url
    page.reload()
    bar = page.locator("#batch")
    expect(bar).to_contain_text("0 of 2 selected runs have ended")
    expect(bar).to_contain_text("2 queued")
    page.get_by_role("searchbox", name="Search").fill("more")
    page.wait_for_url("**/jobs?q=more*")
    assert set(runs_in(page)) == asked, "a search keeps the bar, and what names it"
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#batch")).to_contain_text("2 queued")
    site.launcher.client.post("/queue/resume")
    for each in (page, other):
        expect(each.locator("#batch")).to_contain_text("2 of 2 selected runs have ended", timeout=SECONDS)
        expect(each.locator("#batch")).to_contain_text("2 completed")
    page.reload()
    expect(bar).to_contain_text("2 of 2 selected runs have ended")


def test_the_bar_goes_along_to_the_next_page_and_a_new_press_takes_its_place(
    site: Site, visit: Callable[[Site], Page]
) -> None:
    page = visit(site)
    page.goto(f"{site.frontend.url}/jobs")
    boxes = page.locator("[name='selected_jobs']")
    first, second = (str(boxes.nth(n).get_attribute("value")) for n in (0, 1))
    press(page, first)
    [run_id] = runs_in(page)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#batch")).to_contain_text("1 of 1 selected runs have ended", timeout=SECONDS)
    assert runs_in(page) == [run_id] and "page=2" in page.url
    page.get_by_role("link", name="Previous").click()
    press(page, second)
    assert run_id not in runs_in(page) and len(runs_in(page)) == 1
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    expect(page.locator("#batch")).to_have_count(0)


def test_runs_that_are_no_longer_kept_count_and_what_names_none_shows_no_bar(
    site: Site, visit: Callable[[Site], Page]
) -> None:
    page = visit(site)
    run_id = site.launcher.wait(site.launcher.run("4711")["run_id"])["run_id"]
    page.goto(f"{site.frontend.url}/jobs?batch={run_id}.gone-1.gone-2.%3Cscript%3E")
    expect(page.locator("#batch")).to_contain_text("3 of 3 selected runs have ended")
    expect(page.locator("#batch")).to_contain_text("1 completed, 2 no longer kept")
    for nothing in ("", "%3Cscript%3E", ".."):
        page.goto(f"{site.frontend.url}/jobs?batch={nothing}")
        expect(page.get_by_label("Select job 4711", exact=True)).to_be_visible()
        expect(page.locator("#batch")).to_have_count(0)


def test_a_bar_whose_launcher_is_away_says_so_and_heals_by_itself(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    run_id = site.launcher.wait(site.launcher.run("4711")["run_id"])["run_id"]
    site.launcher.kill()
    page.goto(f"{site.frontend.url}/jobs?batch={run_id}")
    expect(page.locator("#batch")).to_contain_text("Looking up how the selected runs stand")
    expect(page.locator("#live")).to_contain_text("The launcher does not answer")
    site.launcher.start()
    expect(page.locator("#batch")).to_contain_text("1 of 1 selected runs have ended", timeout=SECONDS)
    expect(page.locator("#notice")).to_be_empty()


def test_a_press_that_starts_nothing_leaves_no_bar_and_no_name_of_one(
    site: Site, visit: Callable[[Site], Page]
) -> None:
    page = visit(site)
    press(page, "4711")
    site.launcher.client.post("/queue/pause")
    page.reload()
    page.locator("[name='selected_jobs'][value='4712']").evaluate("box => { box.value = '-odd' }")
    page.get_by_label("Select job 4712", exact=True).check()
    page.get_by_role("button", name="Process selected").click()
    expect(page.get_by_text("Job -odd was not started.")).to_be_visible()
    expect(page.locator("#batch")).to_have_count(0)
    assert "batch" not in page.url
