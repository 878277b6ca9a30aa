"""One Chromium for all browser tests, and a fresh browser context per visit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect

from launching.browser import chromium, sign_in
from launching.site import Site

Visit = Callable[[Site], Page]

FAILED_REQUEST = (
    "Failed to load resource:",
    "Response Status Error Code",
    "htmx:sendError",
    "htmx:timeout",
    "htmx:afterRequest",
)
"""How the browser and htmx log error responses, which tests provoke on purpose."""

expect.set_options(timeout=30_000)  # milliseconds; the machine may be busy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a site in a new context, signed in; at the end, no page may have thrown or logged an error."""
    contexts, faults = [], []

    def logged(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(FAILED_REQUEST):
            faults.append(f"{message.text} ({message.location})")

    def answered(response: Response) -> None:
        if response.status >= 400 and "/static/" in response.url:
            faults.append(f"{response.status} {response.url}")

    def visiting(site: Site) -> Page:
        contexts.append(browser.new_context())
        contexts[-1].set_default_timeout(30_000)
        contexts[-1].on("weberror", lambda error: faults.append(str(error.error)))
        contexts[-1].on("console", logged)  # includes violations of the Content-Security-Policy
        contexts[-1].on("response", answered)
        page = contexts[-1].new_page()
        sign_in(page, site.frontend)
        return page

    yield visiting
    for context in contexts:
        context.close()
    assert not faults
