"""A run's page in a real browser: exact logs despite failures, hostile lines, a hundred thousand lines."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from launching import page_texts
from launching.browser import SECONDS, longest_task_ms, wait_for_lines, watch_tasks
from launching.site import Site

LINES = 600
MANY = 100_000
PRINTER = f"import time\nfor n in range({LINES}): print('line', n, flush=True); time.sleep(0.01)"
FLOOD = f"for n in range({MANY}): print(f'{{n:06}} \\x1b[3{{n % 8}}mcoloured\\x1b[0m ' + 'word ' * 12)"
HOSTILE = [
    "<script>document.title = 'taken over'</script>",
    "<img src=x onerror=\"document.title = 'taken over'\">",
    "</pre></div><h1>broken out</h1>",
    "event: end",
    "data: forged",
    "{{ 7 * 7 }} ${7*7} &lt;b&gt;",
    "\x1b]0;title\x07bell\x07 back\x08space \x00zero",
    "\x1b[2J\x1b[Hcleared",
    "\u202eesrever\u2066 \u2028separated",
    "x" * 100_000,
    "求人 🚢",
]
PIPELINES: dict[str, dict[str, Any]] = {
    "printer": {"command": ["python", "-c", PRINTER], "artifacts": {}},
    "flood": {"command": ["python", "-c", FLOOD], "artifacts": {}},
    "sleeper": {"command": ["python", "-uc", "print('up'); import time; time.sleep(600)"], "artifacts": {}},
    "hostile": {"command": ["python", "-c", f"for line in {HOSTILE!r}: print(line)"], "artifacts": {}},
}
SHOWN = (
    "() => [...document.querySelectorAll('#logs .line:not(.step)')].map((line) => [line.dataset.n, line.textContent])"
)
IN_THE_PAGE = "() => document.querySelectorAll('#logs .line').length"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("run"), PIPELINES, MAX_CONCURRENCY="4") as running:
        yield running


def open_run(page: Page, site: Site, run_id: str) -> None:
    page.goto(f"{site.frontend.url}/runs/{run_id}")


def wait_for_badge(page: Page, status: str) -> None:
    expect(page.locator("#run-status .badge")).to_have_text(status, timeout=SECONDS)


def assert_complete_log(page: Page, site: Site, run_id: str) -> None:
    """The page shows each line of the archived log once, in order, with its number."""
    kept = site.launcher.log(run_id).decode().splitlines()
    wait_for_lines(page, len(kept))
    shown = page.evaluate(SHOWN)
    assert all(int(after[0]) == int(before[0]) + 1 for before, after in pairwise(shown))
    for (_, text), line in zip(shown, kept, strict=True):
        marker = line.removeprefix("[slipway] ")  # gaps are shown in the page's own words, with the reason
        assert text == line or (marker != line and text.endswith(f"missing: {marker}"))


def test_cancelled_run_keeps_its_log(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    run_id = site.launcher.run("4711", pipeline="sleeper")["run_id"]
    open_run(page, site, run_id)
    expect(page.get_by_text("up", exact=True)).to_be_visible(timeout=SECONDS)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=page_texts.CANCEL_RUN).click()
    wait_for_badge(page, "cancelled")
    assert site.launcher.status(run_id)["status"] == "cancelled"
    expect(page.get_by_role("button", name=page_texts.CANCEL_RUN)).to_have_count(0)
    expect(page.locator("#receipt")).to_contain_text("Log complete")
    assert_complete_log(page, site, run_id)


def test_queued_run_shows_its_position(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    site.launcher.client.post("/queue/pause")
    run_id = site.launcher.run("4711", pipeline="printer")["run_id"]
    open_run(page, site, run_id)
    wait_for_badge(page, "queued")
    expect(page.locator("#place")).to_have_text("1")
    site.launcher.client.post("/queue/resume")
    wait_for_badge(page, "completed")
    assert_complete_log(page, site, run_id)


@pytest.mark.parametrize("public", [False, True], ids=["through the front end", "directly from the launcher"])
def test_every_line_appears_once_when_the_launcher_is_killed(
    tmp_path: Path, visit: Callable[[Site], Page], public: bool
) -> None:
    with Site(tmp_path, PIPELINES, public=public) as site:
        page = visit(site)
        run_id = site.launcher.run("4711", pipeline="printer")["run_id"]
        open_run(page, site, run_id)
        expect(page.get_by_text("line 100", exact=True)).to_be_attached(timeout=SECONDS)
        site.launcher.kill()
        expect(page.locator("#connection")).not_to_be_empty(timeout=SECONDS)  # the loss is shown
        site.launcher.start()
        wait_for_badge(page, "failed")
        expect(page.locator("#connection")).to_be_empty()
        assert site.launcher.status(run_id)["reason"] == "LauncherLost"
        assert_complete_log(page, site, run_id)
        assert page.locator("#logs .line").count() > 100
        if public:
            assert is_direct(page, site)


def is_direct(page: Page, site: Site) -> bool:
    """Whether the stream came directly from the launcher, according to the browser's resource timings."""
    names = page.workers[0].evaluate("() => performance.getEntriesByType('resource').map((each) => each.name)")
    return any(name.startswith(f"{site.launcher.url}/jobs/") and "ticket=" in name for name in names)


def test_tickets_give_direct_access_and_are_renewed_when_invalid(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    """Tickets are signed with the first of two secrets, which changes at the restart; the front end uses the second."""
    with Site(tmp_path, PIPELINES, public=True) as site:
        site.launcher.environment["RUNNER_API_SECRET_PREVIOUS"] = site.launcher.secret
        for number in range(2):
            site.launcher.stop()
            site.launcher.environment["RUNNER_API_SECRET"] = secrets.token_hex(32)
            site.launcher.start()
            if number == 0:
                page = visit(site)
                site.launcher.client.post("/queue/pause")
                run_id = site.launcher.run("4711")["run_id"]
                open_run(page, site, run_id)
                wait_for_badge(page, "queued")
                expect(page.locator("#connection")).to_be_empty()
        site.launcher.client.post("/queue/resume")
        wait_for_badge(page, "completed")
        assert_lines_equal_archive(page, site, run_id)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download CV.md").click()
        assert download.value.url.startswith(f"{site.launcher.url}/artifacts/{run_id}/CV.md?ticket=")
        assert Path(download.value.path()).read_text().startswith("#")
        with page.expect_download() as download:
            page.locator("#download").click()
        assert download.value.url.startswith(f"{site.launcher.url}/jobs/{run_id}/log?ticket=")
        assert download.value.suggested_filename == f"{run_id}.log"
        assert Path(download.value.path()).read_bytes() == site.launcher.log(run_id)
        assert is_direct(page, site)
        site.launcher.stop()
        page.locator("#download").click()  # without a ticket, the front end shows the error
        expect(page.get_by_role("heading", level=1)).to_contain_text("Service Unavailable")


def assert_lines_equal_archive(page: Page, site: Site, run_id: str) -> None:
    """Like `assert_complete_log`, for a log with progress events, which the page shows as steps."""
    lines = site.launcher.status(run_id)["log"]["lines"]
    wait_for_lines(page, lines)
    numbers = page.evaluate("() => [...document.querySelectorAll('#logs .line')].map((line) => Number(line.dataset.n))")
    assert numbers == list(range(1, lines + 1))


def test_hostile_lines_are_escaped(site: Site, visit: Callable[[Site], Page]) -> None:
    page = visit(site)
    run_id = site.launcher.wait(site.launcher.run("4711", pipeline="hostile")["run_id"])["run_id"]
    open_run(page, site, run_id)
    expect(page.get_by_text("求人 🚢")).to_be_attached(timeout=SECONDS)
    assert page.title() == "Job 4711 · Slipway"
    assert page.locator("h1").count() == 1
    assert page.locator("#logs img, #logs script, #logs h1").count() == 0
    texts = [text for _, text in page.evaluate(SHOWN)]
    for line in HOSTILE[:6]:
        assert line in texts
    log = "\n".join(texts)
    assert "bell␇ back␈space ␀zero" in log and "cleared" in log
    assert "\x07" not in log and "\x1b" not in log
    assert log.count("x") >= 100_000
    width = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0  # a line of 100 KB does not make the page wider than the window


def test_hundred_thousand_lines_can_be_followed_searched_scrolled_and_copied(
    site: Site, visit: Callable[[Site], Page]
) -> None:
    page = visit(site)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watch_tasks(page)
    site.launcher.client.post("/queue/pause")
    run_id = site.launcher.run("4711", pipeline="flood")["run_id"]
    open_run(page, site, run_id)
    wait_for_badge(page, "queued")
    site.launcher.client.post("/queue/resume")
    wait_for_lines(page, MANY + 1, 4 * SECONDS)
    print(f"longest task while following: {longest_task_ms(page):.0f} ms")  # `make bench` checks it
    last, follow, count = line(page, MANY + 1), page.locator("#follow"), page.locator("#find-count")
    page.locator("#log-stream").evaluate("element => element.scrollIntoView({ block: 'end' })")
    expect(last).to_be_in_viewport()  # it follows
    expect(last).to_have_text(f"{MANY - 1:06} coloured {'word ' * 12}")
    assert page.evaluate(IN_THE_PAGE) < 6000
    page.locator("#log-stream").hover()
    page.mouse.wheel(0, -2000)
    expect(follow).to_be_visible()
    expect(last).not_to_be_in_viewport()
    for place in range(0, MANY, MANY // 40):  # every scroll position shows lines
        page.locator("#log-stream").evaluate(
            f"element => {{ element.scrollTop = {place / MANY} * element.scrollHeight }}"
        )
        expect(line(page, place + 1).or_(line(page, place + 50)).first).to_be_attached()
        assert page.evaluate(IN_THE_PAGE) < 6000
    page.locator("#find-text").fill("000042 coloured")
    expect(count).to_have_text("1 of 1", timeout=SECONDS)
    expect(line(page, 44)).to_be_in_viewport()
    expect(line(page, 44)).to_have_class(re.compile("current"))
    page.locator("#find-text").fill("99 coloured")
    expect(count).to_have_text("1 of 1,000", timeout=SECONDS)
    page.get_by_role("button", name=page_texts.PREVIOUS_MATCH).click()
    expect(count).to_have_text("1,000 of 1,000")
    expect(last).to_be_in_viewport()
    expect(last).to_have_class(re.compile("current"))
    page.locator("#find-text").fill("000042 coloured")
    expect(line(page, 44)).to_be_in_viewport()
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    copied = page.evaluate("() => navigator.clipboard.readText()").splitlines()
    assert copied[1:] == [f"{n:06} coloured {'word ' * 12}" for n in range(MANY)]
    follow.click()
    expect(follow).to_be_hidden()
    expect(last).to_be_in_viewport()


def line(page: Page, number: int) -> Locator:
    """A line by its number; a text locator would search every line."""
    return page.locator(f'.line[data-n="{number}"]')
