"""The seed's log page in a real Chromium: an EventSource behind a proxy that forwards bytes unchanged."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from launching.launcher import Launcher

PAGE = """<!doctype html><title>Run</title><pre id="logs"></pre>
<script>
const eventSource = new EventSource('/api/runner/jobs/{run_id}/logs');
eventSource.onmessage = (e) => {{
  document.getElementById('logs').textContent += e.data + '\\n';
}};
eventSource.addEventListener('end', (e) => {{
  eventSource.close();
}});
</script>"""
LINES = 400
PRINTER = f"import time\nfor n in range({LINES}): print('line', n, flush=True); time.sleep(0.005)"
UNUSUAL_LINES = [
    "<script>document.title = 'taken over'</script>",
    "",
    "  two spaces",
    "data: forged",
    "event: end",
    "求人 🚢",
]
ODD = f"for line in {UNUSUAL_LINES!r}: print(line)"


class Proxy(BaseHTTPRequestHandler):
    """Serves the page and forwards the stream with the secret, which the browser never sees."""

    protocol_version = "HTTP/1.0"
    upstream: ClassVar[Launcher]
    cut_after_bytes: ClassVar[list[int]] = []
    """The number of bytes after which each of the next streams is cut."""

    def do_GET(self) -> None:
        """Answer one request."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "page":
            self._answer("text/html; charset=utf-8", PAGE.format(run_id=parts[1]).encode())
        elif self.path.endswith("/logs"):
            self._stream(self.path.removeprefix("/api/runner"))
        else:
            self.send_error(404)

    def _answer(self, media_type: str, body: bytes = b"") -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, path: str) -> None:
        left = self.cut_after_bytes.pop(0) if self.cut_after_bytes else None
        headers = dict(self.upstream.headers)
        if resume := self.headers.get("Last-Event-ID"):
            headers["Last-Event-ID"] = resume
        connection = http.client.HTTPConnection(urlsplit(self.upstream.url).netloc, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            self._answer("text/event-stream")
            while block := answer.read1(4096):
                if left is not None and (left := left - len(block)) < 0:
                    self.wfile.write(block[: len(block) // 2])  # in the middle of an event
                    return
                self.wfile.write(block)
                self.wfile.flush()
        except OSError:  # the browser closed the connection
            return
        finally:
            connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


PRINTED = ["Starting pipeline printer for job 4711", *(f"line {n}" for n in range(LINES))]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    pipelines: dict[str, dict[str, Any]] = {
        "printer": {"command": ["python", "-c", PRINTER]},
        "odd": {"command": ["python", "-c", ODD]},
    }
    with Launcher(tmp_path_factory.mktemp("browser"), pipelines) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(launcher: Launcher) -> Iterator[str]:
    Proxy.upstream = launcher
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def lines_at_the_end(page: Page) -> list[str]:
    """Wait until the page has closed its stream; return the lines that it shows."""
    page.wait_for_function("eventSource.readyState === EventSource.CLOSED", timeout=60_000)
    text: str = page.locator("#logs").evaluate("element => element.textContent")
    return text.removesuffix("\n").split("\n")


@pytest.mark.parametrize("cuts", [[], [900, 2500, 6000]], ids=["unbroken", "cut three times"])
def test_page_shows_every_line_once_and_closes_at_the_end(
    launcher: Launcher, proxy: str, page: Page, cuts: list[int]
) -> None:
    Proxy.cut_after_bytes[:] = cuts
    run_id = launcher.run("4711", pipeline="printer")["run_id"]
    page.goto(f"{proxy}/page/{run_id}")
    assert lines_at_the_end(page) == PRINTED
    assert Proxy.cut_after_bytes == []
    assert launcher.wait(run_id)["status"] == "completed"


def test_page_opened_late_shows_the_complete_log(launcher: Launcher, proxy: str, page: Page) -> None:
    run_id = launcher.wait(launcher.run("4711", pipeline="odd")["run_id"])["run_id"]
    page.goto(f"{proxy}/page/{run_id}")
    assert lines_at_the_end(page) == ["Starting pipeline odd for job 4711", *UNUSUAL_LINES]
    assert page.title() == "Run"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_page_reconnects_after_a_launcher_restart(launcher: Launcher, proxy: str, page: Page, end: str) -> None:
    launcher.client.post("/queue/pause")
    run_id = launcher.run("4711", pipeline="printer")["run_id"]
    page.goto(f"{proxy}/page/{run_id}")
    page.wait_for_function("eventSource.readyState === EventSource.OPEN", timeout=10_000)
    getattr(launcher, end)()
    page.wait_for_function("eventSource.readyState === EventSource.CONNECTING", timeout=10_000)
    launcher.start()
    launcher.client.post("/queue/resume")
    assert lines_at_the_end(page) == PRINTED


def test_page_shows_lines_from_before_a_crash_once(launcher: Launcher, proxy: str, page: Page) -> None:
    run_id = launcher.run("4711", pipeline="printer")["run_id"]
    page.goto(f"{proxy}/page/{run_id}")
    page.wait_for_function("document.getElementById('logs').textContent.includes('line 50\\n')", timeout=20_000)
    launcher.kill()
    launcher.start()
    shown = lines_at_the_end(page)
    assert len(shown) > 50
    assert shown == PRINTED[: len(shown)]
    assert launcher.status(run_id)["reason"] == "LauncherLost"
