"""axe-core on each page, light and dark, wide and narrow: no serious violation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from launching.frontend import Frontend
from launching.site import Site

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SERIOUS = {"serious", "critical"}
COLOURS = """
for n in range(60):
    print(f'line {n} \\x1b[3{n % 8}mcoloured\\x1b[0m \\x1b[9{n % 8}mbright\\x1b[0m \\x1b[2mdim\\x1b[0m')
raise SystemExit(3)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    pipelines = {
        "colours": {"command": ["python", "-c", COLOURS], "artifacts": {}},
        "sleeper": {"command": ["python", "-uc", "print('up'); import time; time.sleep(600)"], "artifacts": {}},
    }
    with Site(tmp_path_factory.mktemp("axe"), pipelines, MAX_CONCURRENCY="1") as running:
        yield running


@pytest.fixture(scope="module")
def runs(site: Site) -> dict[str, str]:
    """One run per status."""
    launch, wait = site.launcher.run, site.launcher.wait
    found = {"completed": wait(launch("4711")["run_id"])["run_id"]}
    found["failed"] = wait(launch("4712", pipeline="colours")["run_id"])["run_id"]
    found["running"] = launch("4713", pipeline="sleeper")["run_id"]
    found["queued"] = launch("4711", pipeline="sleeper")["run_id"]
    return found


def violations(page: Page) -> list[str]:
    """The violations that axe calls serious or critical, each with the element."""
    results = Axe().run(page).response
    return [
        f"{each['id']}: {node['html']} {node['failureSummary']}"
        for each in results["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_have_no_serious_violation(
    site: Site, runs: dict[str, str], visit: Callable[[Site], Page], scheme: str, size: dict[str, int]
) -> None:
    page = visit(site)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(size)  # type: ignore[arg-type]
    seen: dict[str, list[str]] = {}
    bar = f"/jobs?batch={'.'.join(runs.values())}"
    for path in ("/jobs", bar, "/jobs?q=nothing+has+this", "/runs", "/runs/no-such-run"):
        page.goto(site.frontend.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        seen[path] = violations(page)
    for status, run_id in runs.items():
        page.goto(f"{site.frontend.url}/runs/{run_id}")
        expect(page.locator("#run-status .badge")).to_have_text(status)
        if status != "queued":
            expect(page.locator("#logs .line").first).to_be_attached()
        seen[status] = violations(page)
        narrow = page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert narrow, f"{status}: the page is wider than its window"
    page.goto(f"{site.frontend.url}/runs/{runs['completed']}/files/CV.md")
    seen["preview"] = violations(page)
    page.context.clear_cookies()
    page.goto(f"{site.frontend.url}/login")
    seen["login"] = violations(page)
    assert not [f"{where}: {violation}" for where, found in seen.items() for violation in found]


def test_pages_work_with_the_keyboard_only(site: Site, runs: dict[str, str], visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.get_by_label("Select job 4712").focus()
    page.keyboard.press("Space")
    expect(page.locator("#selected-count")).to_have_text("1 selected")
    page.goto(f"{site.frontend.url}/runs/{runs['failed']}")
    page.get_by_label("Search log").focus()
    page.keyboard.type("line 7 ")
    expect(page.locator("#find-count")).to_have_text("1 of 1")


def test_jobs_page_without_a_launcher_has_no_serious_violation(
    site: Site, tmp_path_factory: pytest.TempPathFactory, visit: Callable[[Site], Page]
) -> None:
    directory = tmp_path_factory.mktemp("alone")
    with Frontend(directory, "http://127.0.0.1:9", site.launcher.secret) as alone:
        page = visit(type("Alone", (), {"frontend": alone})())
        expect(page.locator("#live .problem")).to_be_visible()
        assert not violations(page)
        page.goto(f"{alone.url}/jobs?batch=some-run")
        expect(page.locator("#batch-bar:not([value])")).to_be_visible()
        assert not violations(page)
