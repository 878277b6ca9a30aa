"""Visits to untrusted pages: a browser in its own process, without secrets, behind a proxy, with limits."""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from pipeline_runner.egress import EgressRefusedError, Network
from pipeline_runner.egress_proxy import LOOPBACK, EgressProxy, Resolve
from pipeline_runner.text import clean, one_line

PAGE_BYTES = 20 << 20
TEXT_LIMIT = 100_000  # characters
REFUSED_STATUS = 403  # from the egress proxy or the site
ANSWER_BYTES = 16 << 20  # with its screenshot
GRACE_SECONDS = 10.0  # for everything but loading: startup, settling, the screenshot
END_SECONDS = 0.7  # the whole shutdown on SIGTERM has 1.5 s
MAX_LINKS = 500
MAX_TMPDIR_LENGTH = 40  # characters
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "PLAYWRIGHT_BROWSERS_PATH", "SLIPWAY_RUN_ID", "SLIPWAY_ARCHIVE")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """The result of a visit. Texts are cleaned."""

    #: The URL after redirects.
    url: str
    status: int | None = None
    title: str = ""
    text: str = ""
    #: The text and URL of each link.
    links: tuple[tuple[str, str], ...] = ()
    #: Why there is no page, as part of a sentence; empty on success.
    error: str = ""
    #: A PNG of the page.
    screenshot: bytes | None = None


class Browser:
    """A Chromium that starts at the first visit and ends with the context."""

    def __init__(
        self,
        *,
        executable: str | None,
        allowed: tuple[Network, ...],
        page_seconds: float,
        page_bytes: int = PAGE_BYTES,
        resolve: Resolve | None = None,
    ) -> None:
        """Use the Chromium `executable`, or Playwright's own; `page_seconds` and `page_bytes` limit each page."""
        self._executable, self._page_seconds = executable, page_seconds
        self._proxy = EgressProxy(allowed, max_bytes=page_bytes, resolve=resolve)
        self._stack = ExitStack()
        self._home: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_asked = False

    def visit(self, url: str, seconds: float | None = None) -> Visit:
        """Open a page, within `seconds` and a grace period; failures are reported in `Visit.error`."""
        seconds = self._page_seconds if seconds is None else min(seconds, self._page_seconds)
        self._start_proxy()
        if problem := self._problem_with(url):
            return Visit(url=url, error=problem)
        request = {"url": url, "milliseconds": max(1, round(seconds * 1000)), "text_limit": TEXT_LIMIT}
        answer = self._ask(request, time.monotonic() + seconds + GRACE_SECONDS)
        return self._visit_from(url, answer, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_process()
        self._stack.close()

    def _start_proxy(self) -> None:
        if self._home is None:
            self._stack.enter_context(self._proxy)
            self._home = self._stack.enter_context(_home())
        self._proxy.renew()

    def _problem_with(self, url: str) -> str:
        """Why the URL cannot be opened; empty if it can."""
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                return "its URL is not a web page"
            self._proxy.check(parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme])
        except EgressRefusedError as error:
            return str(error)
        except ValueError:
            return "its URL is invalid"
        except (OSError, TimeoutError):
            return f"the name {one_line(parts.hostname or '')} does not resolve"
        return ""

    def _ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        try:
            process = self._process or self._start_process()
            self._is_asked = True
            assert process.stdin is not None
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._read_line(process, deadline))
            self._is_asked = False
        except TimeoutError:
            self._end_process()
            return {"error": "Timeout"}
        except (OSError, EOFError, ValueError):
            self._end_process()
            return {"error": "the browser crashed"}
        if "broken" in answer:
            self._end_process()
            return {"error": f"the browser did not start: {answer['broken']}"}
        return answer

    def _start_process(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipeline_runner.browser_process"]
        self._process = subprocess.Popen(
            [*command, self._executable or "", f"{LOOPBACK}:{self._proxy.port}"],
            cwd=self._home,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self._process

    def _environment(self) -> dict[str, str]:
        """The browser's environment: no keys and no paths that an untrusted page could exploit."""
        assert self._home is not None
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **kept,
            "HOME": self._home,
            "TMPDIR": self._home,
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        }

    def _read_line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        assert process.stdout is not None
        line = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                line += chunk
                if not chunk or len(line) > ANSWER_BYTES:
                    raise EOFError if not chunk else ValueError
        return bytes(line)

    def _end_process(self) -> None:
        """End the browser by closing its input, or kill it; its driver then ends Chromium."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes the pipes and reaps it
            try:
                assert process.stdin is not None
                process.stdin.close()
                if self._is_asked:  # it would not notice before it has answered
                    process.kill()
                process.wait(END_SECONDS)
            except (OSError, subprocess.TimeoutExpired):
                process.kill()

    def _visit_from(self, url: str, answer: dict[str, Any], seconds: float) -> Visit:
        error = one_line(str(answer.get("error", "")))
        if self._proxy.exhausted:
            error = "the page exceeds the size limit"
        elif self._proxy.refusals and (error or answer.get("status") == REFUSED_STATUS):
            error = self._proxy.refusals[0]
        elif "Timeout" in error:
            error = f"the site did not respond within {seconds:.0f} s"
        elif "ERR_TOO_MANY_REDIRECTS" in error:
            error = "the site redirects too many times"
        elif "Download is starting" in error:
            error = "it is a file, not a page"
        screenshot = answer.get("screenshot")
        return Visit(
            url=one_line(str(answer.get("url") or url)),
            status=status if isinstance(status := answer.get("status"), int) else None,
            title=one_line(str(answer.get("title", ""))),
            text=clean(str(answer.get("text", ""))[:TEXT_LIMIT]).strip(),
            links=_links(answer.get("links")),
            error=error,
            screenshot=base64.b64decode(screenshot) if screenshot else None,
        )


def _links(found: object) -> tuple[tuple[str, str], ...]:
    """Read the links. The page's scripts can change them, so they may be anything."""
    pairs = found if isinstance(found, list) else []
    return tuple(
        (one_line(pair[0]), one_line(pair[1]))
        for pair in pairs[:MAX_LINKS]
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
    )


@contextmanager
def _home() -> Iterator[str]:
    """A temporary folder for the browser, with a short path: paths of sockets have at most 107 bytes."""
    folder = tempfile.gettempdir()
    home = Path(tempfile.mkdtemp(prefix="browser-", dir="/tmp" if len(folder) > MAX_TMPDIR_LENGTH else folder))  # noqa: S108
    try:
        yield str(home)
    finally:
        deadline = time.monotonic() + END_SECONDS
        while home.exists() and time.monotonic() < deadline:  # a killed Chromium may still be writing
            shutil.rmtree(home, ignore_errors=True)
            time.sleep(0.01)
