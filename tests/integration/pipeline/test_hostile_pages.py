"""A real Chromium before pages that hang, refuse, redirect, grow and attack."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from pipeline_runner.browsing import Browser
from pipeline_runner.company_research import telling_links
from pipeline_runner.egress import networks_from
from pipeline_runner.page_reading import Page, read_page
from pipeline_runner.postings import Posting, posting_from
from servers.hostile_site import POSTING, Site, probing, serving
from servers.server import is_alive

STORED = "The stored text of the posting."


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    assert found, "No Chromium: run `make servers`"
    return found


@contextmanager
def browser(
    chromium: str, *, allowed: str = "127.0.0.1", seconds: float = 15, max_bytes: int = 4 << 20
) -> Iterator[Browser]:
    with Browser(
        executable=chromium, allowed=networks_from(allowed), page_seconds=seconds, page_bytes=max_bytes
    ) as running:
        yield running


@pytest.fixture(scope="module")
def reader(chromium: str) -> Iterator[Browser]:
    with browser(chromium) as running:
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


def posting(url: str, title: str = "Harbour Engineer") -> Posting:
    return posting_from({"url": url, "title": title, "description": STORED}, job_id="1", source="test")


def fell_back(page: Page, why: str) -> None:
    assert (page.from_page, page.text, page.url) == (False, STORED, "")
    assert why in page.note
    assert "its stored text is used" in page.note


def test_the_main_text_of_a_page_is_read_with_its_lists(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/posting"), reader)
    assert (page.from_page, page.title, page.url, page.screenshot) == (True, "Job", f"{site.url}/posting", None)
    assert page.text.startswith("Harbour Engineer")
    assert "\n- Python\n- Kubernetes" in page.text
    assert "Menu" not in page.text
    assert page.note == f"Read from the page {site.url}/posting"


def test_a_redirect_is_followed_and_its_end_is_named(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/to/~posting"), reader)
    assert (page.from_page, page.url) == (True, f"{site.url}/posting")


def test_a_cookie_wall_is_dismissed(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/cookies"), reader)
    assert page.from_page, page.note
    assert "Kubernetes" in page.text
    assert "cookies" not in page.text


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/stubborn", "it shows only its cookie wall"),
        ("/empty", "there is hardly any text on it"),
        ("/status/403", "the site answered 403"),
        ("/status/429", "the site answered 429"),
        ("/status/404", "the site answered 404"),
        ("/status/500", "the site answered 500"),
        ("/circle/", "the site redirects for ever"),
        ("/large", "the page is larger than a page should be"),
        ("/file", "it is a file, not a page"),
        ("/to/http:~~127.0.0.2:8099~", "127.0.0.2:8099 is no place on the public web"),
        ("/to/http:~~[::1]:8099~", "::1:8099 is no place on the public web"),
        ("/to/https:~~169.254.169.254~", "169.254.169.254:443 is no place on the public web"),
    ],
)
def test_what_is_no_posting_is_said_and_the_stored_text_used(reader: Browser, site: Site, path: str, why: str) -> None:
    page = read_page(posting(f"{site.url}{path}"), reader)
    fell_back(page, why)


def test_a_page_that_could_be_seen_and_not_used_leaves_a_screenshot(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/stubborn"), reader)
    assert page.screenshot is not None
    assert page.screenshot.startswith(b"\x89PNG")


def test_a_page_about_something_else_is_not_taken_for_the_posting(reader: Browser, site: Site) -> None:
    fell_back(read_page(posting(f"{site.url}/posting", "Pastry Chef"), reader), "it does not speak of this position")


@pytest.mark.parametrize("path", ["/hangs", "/endless"])
def test_a_site_that_never_comes_to_an_end_costs_its_time_and_no_more(chromium: str, site: Site, path: str) -> None:
    with browser(chromium, seconds=2) as reader:
        begin = time.monotonic()
        page = read_page(posting(f"{site.url}{path}"), reader)
        assert time.monotonic() - begin < 20  # two seconds, and what starting and settling may take
        assert not page.from_page
        assert read_page(posting(f"{site.url}/posting"), reader).from_page


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "javascript:alert(1)", "http://[", "http://nowhere.invalid/"]
)
def test_an_address_that_is_none_of_a_page_starts_no_browser(url: str) -> None:
    with browser("/nonexistent") as reader:
        page = read_page(posting(url), reader)
        assert (page.from_page, page.text) == (False, STORED)
        assert "there is no browser" not in page.note


def test_a_browser_that_is_not_there_is_said(site: Site) -> None:
    with browser("/nonexistent") as reader:
        fell_back(read_page(posting(f"{site.url}/posting"), reader), "there is no browser: ")


def test_a_page_that_forges_what_is_read_of_it_does_no_harm(reader: Browser, site: Site) -> None:
    site.answers["/forged"] = f"""<title>Job</title>{POSTING}<a href=/a>A</a><script>
    Array.prototype.map = () => [1, null, ['x'], [{{}}, {{}}], ['a', 'http://[']];
    String.prototype.slice = () => ({{no: 'text'}});
    Object.defineProperty(document, 'title', {{get: () => 'x'.repeat(1000)}});
    </script>"""
    visit = reader.visit(f"{site.url}/forged")
    assert visit.error == ""
    assert visit.links == (("a", "http://["),)
    assert telling_links(visit) == []


def test_no_script_of_a_page_reaches_private_places(chromium: str, site: Site) -> None:
    with serving("127.0.0.2") as inner, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stun:
        stun.bind(("127.0.0.2", 0))
        stun.settimeout(0.2)
        there = f"127.0.0.2:{inner.port}"
        urls = [
            f"http://{there}/posting",
            f"http://localhost:{inner.port}/posting",
            f"{site.url}/to/http:~~{there}~posting",
        ]
        site.answers["/attack"] = probing(urls, [f"ws://{there}/"], f"stun:127.0.0.2:{stun.getsockname()[1]}")
        with browser(chromium) as reader:
            page = read_page(posting(f"{site.url}/attack"), reader)
            seen = reader.visit(f"{site.url}/attack")
        assert page.from_page, page.note
        assert inner.requests == []
        assert ("/to/http:~~127.0.0.2" in str(site.requests)) and "/attack" in str(site.requests)
        assert "GOT" not in page.text or "fetched:<title>Job" not in page.text
        assert "opened" not in seen.text
        with pytest.raises(TimeoutError):
            stun.recv(100)


def test_the_same_script_gets_there_where_configuration_allows_it(chromium: str, site: Site) -> None:
    with serving("127.0.0.2") as inner:
        site.answers["/allowed"] = probing([f"http://127.0.0.2:{inner.port}/posting"], [], "stun:127.0.0.1:9")
        with browser(chromium, allowed="127.0.0.0/8") as reader:
            assert read_page(posting(f"{site.url}/allowed"), reader).from_page
        assert inner.requests


def descendants() -> set[psutil.Process]:
    """Every process below this one; one whose number another takes over is not taken for it."""
    return set(psutil.Process().children(recursive=True))


def test_no_process_of_the_browser_has_a_secret_in_its_environment(
    chromium: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("OPENAI_API_KEY", "FIRECRAWL_API_KEY", "MONGODB_URI", "LANGCHAIN_API_KEY", "SOMETHING_ELSE")
    for name in names:
        monkeypatch.setenv(name, "sk-never-shown")
    seen: list[bytes] = []

    def look() -> str:
        for each in descendants():
            with suppress(OSError):  # one that has just ended has nothing to show
                folder = Path(f"/proc/{each.pid}")
                seen.append((folder / "cmdline").read_bytes() + (folder / "environ").read_bytes())
        return "<p>looked</p>"

    site.answers["/look"] = look
    with browser(chromium) as reader:
        assert reader.visit(f"{site.url}/look").text == "looked"
    assert any(b"--type=renderer" in each for each in seen)
    assert any(b"run-driver" in each for each in seen)
    assert not any(b"sk-never-shown" in each for each in seen)


def test_after_the_last_page_no_process_and_no_folder_is_left(
    chromium: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))  # short: see `LONGEST_TMPDIR`
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    others = descendants()
    with browser(chromium) as reader:
        assert not reader.visit(f"{site.url}/posting").error
        processes = descendants() - others
        assert len(processes) > 3
    deadline = time.monotonic() + 60
    while left := [each for each in processes if is_alive(each)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    folder.rmdir()  # fails where something is left
