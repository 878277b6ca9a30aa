"""A real headless Chromium, and what a person does first in it: sign in."""

from __future__ import annotations

import shutil
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


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start one; ends with the block."""
    program = shutil.which("chromium")
    assert program, "No Chromium: run tests/servers/install"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


def sign_in(page: Page, frontend: Frontend) -> None:
    """Sign in as a person does."""
    page.goto(f"{frontend.url}/login")
    page.get_by_label("Password").fill(frontend.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/jobs")
