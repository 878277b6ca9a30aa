"""A real Chromium with pages that hang, deny access, redirect, grow and attack."""

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
from pipeline_runner.company_research import informative_links
from pipeline_runner.egress import networks_from
from pipeline_runner.page_reading import READ_FROM, STORED_TEXT_USED, Page, read_page
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
    assert STORED_TEXT_USED in page.note


def test_main_text_is_read_with_its_lists(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/posting"), reader)
    assert (page.from_page, page.title, page.url, page.screenshot) == (True, "Job", f"{site.url}/posting", None)
    assert page.text.startswith("Harbour Engineer")
    assert "\n- Python\n- Kubernetes" in page.text
    assert "Menu" not in page.text
    assert page.note == f"{READ_FROM} {site.url}/posting"


def test_redirect_is_followed_and_its_target_named(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/to/~posting"), reader)
    assert (page.from_page, page.url) == (True, f"{site.url}/posting")


def test_cookie_wall_is_dismissed(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/cookies"), reader)
    assert page.from_page, page.note
    assert "Kubernetes" in page.text
    assert "cookies" not in page.text


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/stubborn", "it shows only a cookie wall"),
        ("/empty", "it has hardly any text"),
        ("/status/403", "the site answered 403"),
        ("/status/429", "the site answered 429"),
        ("/status/404", "the site answered 404"),
        ("/status/500", "the site answered 500"),
        ("/circle/", "the site redirects too many times"),
        ("/large", "the page exceeds the size limit"),
        ("/file", "it is a file, not a page"),
        ("/to/http:~~127.0.0.2:8099~", "127.0.0.2:8099 is not on the public web"),
        ("/to/http:~~[::1]:8099~", "::1:8099 is not on the public web"),
        ("/to/https:~~169.254.169.254~", "169.254.169.254:443 is not on the public web"),
    ],
)
def test_unreadable_page_falls_back_to_the_stored_text(reader: Browser, site: Site, path: str, why: str) -> None:
    page = read_page(posting(f"{site.url}{path}"), reader)
    fell_back(page, why)


def test_unreadable_page_leaves_a_screenshot(reader: Browser, site: Site) -> None:
    page = read_page(posting(f"{site.url}/stubborn"), reader)
    assert page.screenshot is not None
    assert page.screenshot.startswith(b"\x89PNG")


def test_page_about_another_topic_is_not_used(reader: Browser, site: Site) -> None:
    fell_back(read_page(posting(f"{site.url}/posting", "Pastry Chef"), reader), "it does not mention this position")


@pytest.mark.parametrize("path", ["/hangs", "/endless"])
def test_endless_site_is_limited_in_time(chromium: str, site: Site, path: str) -> None:
    with browser(chromium, seconds=2) as reader:
        begin = time.monotonic()
        page = read_page(posting(f"{site.url}{path}"), reader)
        assert time.monotonic() - begin < 20  # two seconds, plus startup and settling
        assert not page.from_page
        assert read_page(posting(f"{site.url}/posting"), reader).from_page


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "javascript:alert(1)", "http://[", "http://nowhere.invalid/"]
)
def test_invalid_url_starts_no_browser(url: str) -> None:
    with browser("/nonexistent") as reader:
        page = read_page(posting(url), reader)
        assert (page.from_page, page.text) == (False, STORED)
        assert "the browser did not start" not in page.note


def test_missing_browser_is_reported(site: Site) -> None:
    with browser("/nonexistent") as reader:
        fell_back(read_page(posting(f"{site.url}/posting"), reader), "the browser did not start: ")


def test_forged_content_does_no_harm(reader: Browser, site: Site) -> None:
    site.answers["/forged"] = f"""<title>Job</title>{POSTING}<a href=/a>A</a><script>
    Array.prototype.map = () => [1, null, ['x'], [{{}}, {{}}], ['a', 'http://[']];
    String.prototype.slice = () => ({{no: 'text'}});
    Object.defineProperty(document, 'title', {{get: () => 'x'.repeat(1000)}});
    </script>"""
    visit = reader.visit(f"{site.url}/forged")
    assert visit.error == ""
    assert visit.links == (("a", "http://["),)
    assert informative_links(visit) == []


def test_page_scripts_cannot_reach_private_addresses(chromium: str, site: Site) -> None:
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


def test_page_scripts_can_reach_allowed_networks(chromium: str, site: Site) -> None:
    with serving("127.0.0.2") as inner:
        site.answers["/allowed"] = probing([f"http://127.0.0.2:{inner.port}/posting"], [], "stun:127.0.0.1:9")
        with browser(chromium, allowed="127.0.0.0/8") as reader:
            assert read_page(posting(f"{site.url}/allowed"), reader).from_page
        assert inner.requests


def descendants() -> set[psutil.Process]:
    """Every process below this one; one whose number another takes over is not taken for it."""
    return set(psutil.Process().children(recursive=True))


def test_browser_processes_have_no_secret_in_their_environment(
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


def test_browser_leaves_no_process_and_no_folder(chromium: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))  # short: see `MAX_TMPDIR_LENGTH`
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
    folder.rmdir()  # fails if it is not empty
