"""A real headless Chromium, and the steps that tests share, such as signing in."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from launching.frontend import Frontend

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SECONDS = 60_000.0  # Playwright counts in milliseconds
_COUNT = "() => Number(logs.dataset.lines ?? 0)"
_LONGEST = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: 'longtask', buffered: true });
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium while the block runs."""
    program = shutil.which("chromium")
    assert program, "No Chromium: run `make servers`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


def sign_in(page: Page, frontend: Frontend) -> None:
    """Sign in as a user does."""
    page.goto(f"{frontend.url}/login")
    page.get_by_label("Password").fill(frontend.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/jobs")


def wait_for_lines(page: Page, lines: int, milliseconds: float = SECONDS) -> None:
    """Wait until the page has this many lines. Its CSP forbids Playwright's `wait_for_function`."""
    deadline = time.monotonic() + milliseconds / 1000
    while (count := page.evaluate(_COUNT)) < lines:
        assert time.monotonic() < deadline, f"{count} of {lines} lines"
        page.wait_for_timeout(100)


def watch_tasks(page: Page) -> None:
    """Measure the longest task of each page opened from now on."""
    page.add_init_script(_LONGEST)


def longest_task_ms(page: Page) -> float:
    """The page's longest task so far, in milliseconds; 0 if none was longer than 50."""
    return float(page.evaluate("() => window.longest"))
