"""One Chromium for all tests of this folder, and a fresh visitor for each who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from launching.browser import chromium, sign_in
from launching.site import Site

Visit = Callable[[Site], Page]

expect.set_options(timeout=30_000)  # milliseconds; others may keep the machine busy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a site as somebody new, signed in; at the end nothing may have thrown in the page."""
    contexts, faults = [], []

    def visiting(site: Site) -> Page:
        contexts.append(browser.new_context())
        contexts[-1].set_default_timeout(30_000)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        sign_in(page, site.frontend)
        return page

    yield visiting
    for context in contexts:
        context.close()
    assert not faults
