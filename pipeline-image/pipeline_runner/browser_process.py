"""The browser's process: it opens pages one at a time and returns their content.

Its environment contains no secrets, and its only connection to the network is the egress proxy. Each line of JSON on
standard input is a page to open, each line on standard output the answer. It exits at the end of standard input.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from playwright.sync_api import Browser, Error, Page, sync_playwright

SETTLE_MS = 3_000  # how long scripts may keep loading after the document
CLICK_MS = 1_500
SCREENSHOT_MS = 2_000
MIN_SHM_BYTES = 256 << 20
FLAGS = (
    "--no-sandbox",  # its sandbox needs privileges that a restricted pod lacks
    "--disable-gpu",
    "--disable-quic",  # UDP would bypass the proxy
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--dns-prefetch-disable",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--js-flags=--max-old-space-size=256",
)
REJECT = r"^(reject|decline|refuse|deny|(alle )?ablehnen|nur (notwendige|erforderliche)|only necessary|necessary only)"
ACCEPT = r"^(accept|allow|(i )?agree|got it|ok$|(alle )?akzeptieren|zustimmen|einverstanden|tout accepter)"
# The page's main text: the largest article or main element, or the body without navigation, header and footer.
EXTRACT = """limit => {
  for (const item of document.querySelectorAll('li')) item.insertAdjacentText('afterbegin', '- ');
  const parts = [...document.querySelectorAll('article, main, [role=main]')];
  const size = part => (part.innerText || '').length;
  let best = parts.sort((one, other) => size(other) - size(one))[0];
  if (!best || size(best) < 200) {
    for (const part of document.querySelectorAll('nav, header, footer, aside')) part.remove();
    best = document.body;
  }
  const links = [...document.links].slice(0, 500).map(link => [link.innerText.slice(0, 200), link.href.slice(0, 2000)]);
  return {title: document.title.slice(0, 500), text: ((best && best.innerText) || '').slice(0, limit), links};
}"""


@contextmanager
def chromium(executable: str | None, proxy: str) -> Iterator[Browser]:
    """Start Chromium; all its connections, loopback included, go through the proxy."""
    shm = os.statvfs("/dev/shm")  # noqa: S108
    large = shm.f_frsize * shm.f_blocks >= MIN_SHM_BYTES
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            headless=True,
            chromium_sandbox=False,
            args=[*FLAGS, f"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE {proxy.split(':')[0]}"],
            ignore_default_args=["--disable-dev-shm-usage"] if large else None,
            env=dict(os.environ),
            proxy={"server": f"http://{proxy}", "bypass": "<-loopback>"},
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        with browser:
            yield browser


def open_page(browser: Browser, url: str, *, milliseconds: int, text_limit: int) -> dict[str, Any]:
    """Open a page and return its text, title, links, URL and status, or ``error``, and a screenshot."""
    with browser.new_context(accept_downloads=False, service_workers="block") as context:
        page = context.new_page()
        context.on("page", lambda other: other.close())  # close popups
        answer: dict[str, Any] = {"url": url}
        try:
            answer |= _read(page, url, milliseconds, text_limit)
        except Error as error:
            answer["error"] = str(error).split("\n", 1)[0]
        with suppress(Error):
            answer["screenshot"] = base64.b64encode(page.screenshot(timeout=SCREENSHOT_MS)).decode()
        return answer


def _read(page: Page, url: str, milliseconds: int, text_limit: int) -> dict[str, Any]:
    page.set_default_timeout(milliseconds)
    response = page.goto(url, wait_until="domcontentloaded", timeout=milliseconds)
    with suppress(Error):
        page.wait_for_load_state("networkidle", timeout=SETTLE_MS)
    dismissed = _dismiss_cookie_wall(page)
    if dismissed:
        with suppress(Error):
            page.wait_for_load_state("networkidle", timeout=SETTLE_MS)
    found: dict[str, Any] = page.evaluate(EXTRACT, text_limit)
    return {**found, "url": page.url, "status": response.status if response else None, "dismissed": dismissed}


def _dismiss_cookie_wall(page: Page) -> bool:
    """Click the button that rejects cookies, else the one that accepts them; return whether there was one."""
    for words in (REJECT, ACCEPT):
        for frame in page.frames[:5]:
            with suppress(Error):
                button = frame.get_by_role("button", name=re.compile(words, re.IGNORECASE)).first
                if button.is_visible():
                    button.click(timeout=CLICK_MS)
                    return True
    return False


def main() -> None:
    """Serve requests until there are no more."""
    executable, proxy = sys.argv[1] or None, sys.argv[2]
    try:
        with chromium(executable, proxy) as browser:
            for line in sys.stdin:
                request = json.loads(line)
                print(json.dumps(open_page(browser, **request)), flush=True)
    except Exception as error:  # any error: the pipeline continues without a browser and says why
        print(json.dumps({"broken": str(error).split("\n", 1)[0]}), flush=True)


if __name__ == "__main__":
    main()
