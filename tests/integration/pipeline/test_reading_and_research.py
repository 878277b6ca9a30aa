"""The pipeline's command with real pages: reading, research and termination."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline_runner.browsing import Browser
from pipeline_runner.company_research import READ_ON, research_company
from pipeline_runner.egress import networks_from
from pipeline_runner.firecrawl import Firecrawl, FirecrawlError
from pipeline_runner.page_reading import READ_FROM, STORED_TEXT_USED
from pipeline_runner.postings import Posting, posting_from
from servers.hostile_site import WORDS, Site, serving

ROOT = Path(__file__).resolve().parents[3]
KEY = "fc-never-shown-4711"
ABOUT = f"<title>About us</title><main><h1>About</h1><p>{WORDS}</p></main>"
HOME = f"""<title>Hafenwerk</title><main><h1>Hafenwerk</h1><p>{WORDS}</p></main>
<a href="/news">News</a> <a href="/career">Career</a> <a href="/about#team">About us</a> <a href="/about">About</a>
<a href="http://elsewhere.example/about">About others</a> <a href="javascript:about()">About</a>
<a href="/products">Products</a> <a href="/produkte">Produkte</a> <a href="/mission">Mission</a>"""


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as running:
        running.answers |= {
            "/": HOME,
            "/about": ABOUT,
            "/products": ABOUT,
            "/career": ABOUT,
            "/mission": "<p>short</p>",
        }
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "No Chromium: run `make servers`"
    with Browser(executable=chromium, allowed=networks_from("127.0.0.1"), page_seconds=15) as running:
        yield running


class Api(BaseHTTPRequestHandler):
    """A fake Firecrawl: returns the given responses in order and repeats the last one."""

    answers: ClassVar[list[tuple[int, bytes]]]
    requests: ClassVar[list[tuple[str, str, dict[str, Any]]]]

    def do_POST(self) -> None:
        """Answer one request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.path, self.headers["Authorization"], body))
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


FOUND = {"url": "https://hafenwerk.example/about", "title": "About", "markdown": "# Hafenwerk\n\nWe run harbours."}
FIRECRAWL = json.dumps({"success": True, "data": {"web": [FOUND, {"url": "https://empty.example/"}]}}).encode()


@contextmanager
def api(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[tuple[str, str, dict[str, Any]]]]]:
    handler = type("Handler", (Api,), {"answers": list(answers), "requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.requests  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def posting(**fields: str) -> Posting:
    return posting_from({"company": "Hafenwerk GmbH", **fields}, job_id="1", source="test")


def test_firecrawl_is_retried_after_429(browser: Browser) -> None:
    with api((429, b"{}"), (503, b""), (200, FIRECRAWL)) as (url, requests):
        research = research_company(posting(), browser, Firecrawl(url, KEY, wait_seconds=0.01))
    assert [source.url for source in research.sources] == ["https://hafenwerk.example/about"]
    assert research.sources[0].excerpt == "# Hafenwerk We run harbours."
    assert research.note == "Found with Firecrawl"
    assert len(requests) == 3
    path, authorization, body = requests[-1]
    assert (path, authorization) == ("/v2/search", f"Bearer {KEY}")
    assert "Hafenwerk GmbH" in body["query"]


def test_malformed_characters_of_a_found_page_are_cleaned(browser: Browser) -> None:
    odd = {"url": "https://a.example/", "title": "Half \ud83d\0", "markdown": "We \ud83d run\x0b\ufffe harbours."}
    with api((200, json.dumps({"success": True, "data": {"web": [odd]}}).encode())) as (url, _):
        [source] = research_company(posting(), browser, Firecrawl(url, KEY)).sources
    assert (source.title, source.excerpt) == ("Half \ufffd", "We \ufffd run harbours.")


@pytest.mark.parametrize(
    ("status", "answer", "says", "attempts"),
    [
        (401, b"{}", "rejected the key", 1),
        (402, b"{}", "the quota is used up", 1),
        (429, b"{}", "too many requests", 3),
        (500, b"{}", "answered 500", 3),
        (200, b"no json", "invalid response", 1),
        (200, b'{"success": true, "data": []}', "invalid response", 1),
        (200, b'{"data": {"web": [1]}}', "invalid response", 1),
        (200, b"x" * (9 << 20), "invalid response", 1),
        (200, b'{"data": ' + b"[" * 900 + b"]" * 900 + b"}", "invalid response", 1),
        (200, b"[" * 100_000, "invalid response", 1),
    ],
)
def test_firecrawl_error_is_reported_without_the_key(status: int, answer: bytes, says: str, attempts: int) -> None:
    with api((status, answer)) as (url, requests), pytest.raises(FirecrawlError, match=says) as caught:
        Firecrawl(url, KEY, wait_seconds=0.01).search("x", limit=4)
    assert len(requests) == attempts
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_unreachable_firecrawl_is_reported() -> None:
    with pytest.raises(FirecrawlError, match="is unreachable"):
        Firecrawl("http://127.0.0.1:9", KEY, wait_seconds=0.01).search("x", limit=4)


def test_company_website_is_read_within_limits(browser: Browser, site: Site) -> None:
    research = research_company(posting(companyUrl=f"{site.url}/"), browser, None)
    paths = [source.url.removeprefix(site.url) for source in research.sources]
    assert paths == ["/", "/about", "/products"]  # the fourth was /mission, with hardly a word
    assert research.note == f"{READ_ON} {site.url}/"
    assert {path for path, _ in site.requests} == {"/", "/favicon.ico", "/about", "/products", "/mission"}


def test_company_website_is_read_if_firecrawl_fails(browser: Browser, site: Site) -> None:
    with api((402, b"{}")) as (url, _requests):
        research = research_company(posting(companyUrl=f"{site.url}/"), browser, Firecrawl(url, KEY))
    assert len(research.sources) == 3
    assert research.note.startswith(f"Firecrawl reports that the quota is used up. {READ_ON}")


def test_research_needs_a_company_and_a_website(browser: Browser) -> None:
    assert "names no company" in research_company(posting(company=""), browser, None).note
    assert "names no website" in research_company(posting(url="https://jobs.board.example/1"), browser, None).note


# --- the command ------------------------------------------------------------------------------------------------------
@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "postings").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "MASTER_CV": str(ROOT / "pipeline-image/samples/master-cv.md"),
        "POSTINGS_DIR": str(tmp_path / "postings"),
        "APPLICATIONS_DIR": str(tmp_path / "applications"),
        "CHROMIUM_PATH": shutil.which("chromium") or "",
        "BROWSER_ALLOWED_NETWORKS": "127.0.0.1",
        "PAGE_TIMEOUT_SECONDS": "15",
    }


def start(environment: dict[str, str], **fields: str) -> subprocess.Popen[str]:
    document = {"title": "Harbour Engineer", "company": "Hafenwerk GmbH", **fields}
    (Path(environment["POSTINGS_DIR"]) / "1.json").write_text(json.dumps(document))
    script = ROOT / "pipeline-image/scripts/run_pipeline.py"
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script), "--job-id", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_run_reads_page_and_website(environment: dict[str, str], site: Site, tmp_path: Path) -> None:
    with start(environment, url=f"{site.url}/posting", companyUrl=f"{site.url}/") as process:
        out, _ = process.communicate(timeout=90)
    assert process.returncode == 0, out
    assert f"Step 3 of 8 done: {READ_FROM} {site.url}/posting.\n" in out
    assert f"Step 4 of 8 done: {READ_ON} {site.url}/ (3 pages).\n" in out
    folder = tmp_path / "applications/hafenwerk-gmbh/harbour-engineer"
    assert sorted(path.name for path in folder.iterdir()) == ["CV.docx", "CV.md", "cover_letter.txt", "dossier.txt"]
    assert "Kubernetes" in (folder / "dossier.txt").read_text()


def test_run_continues_without_the_page_and_keeps_a_screenshot(
    environment: dict[str, str], site: Site, tmp_path: Path
) -> None:
    with start(environment, url=f"{site.url}/status/403", description="We need Python.") as process:
        out, _ = process.communicate(timeout=90)
    assert process.returncode == 0, out
    assert f"(the site answered 403); {STORED_TEXT_USED}" in out
    [picture] = (tmp_path / "applications").rglob("screenshot.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name, value", [("BROWSER_ALLOWED_NETWORKS", "everything"), ("PAGE_TIMEOUT_SECONDS", "soon")])
def test_invalid_setting_fails_at_once(environment: dict[str, str], name: str, value: str) -> None:
    with start({**environment, name: value}) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Pipeline failed: {name}" in out
    assert "::progress::" not in out


def test_sigterm_while_a_page_hangs_ends_the_run_within_two_seconds(environment: dict[str, str], site: Site) -> None:
    with start(environment, url=f"{site.url}/hangs") as process:
        deadline = time.monotonic() + 60
        while not any(path == "/hangs" for path, _ in site.requests):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
        assert time.monotonic() - begin < 5  # SIGKILL comes after 10 (TERMINATION_GRACE_SECONDS)
    assert process.returncode == 143
    assert out.endswith("Stopped by SIGTERM.\n")
