"""Takes screenshots of each page (light, dark, phone) from a real launcher and front end into docs/screenshots."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, expect

from launching.browser import chromium, sign_in
from launching.service_process import ROOT
from launching.site import Site

FOLDER = ROOT / "docs/screenshots"
MAX_BYTES = 150_000
DESKTOP, PHONE = {"width": 1200, "height": 800}, {"width": 390, "height": 844}
LOOKS: list[tuple[str, Literal["light", "dark"], dict[str, int]]] = [
    ("light", "light", DESKTOP),
    ("dark", "dark", DESKTOP),
    ("phone", "light", PHONE),
]
LIVE = r"""
import time
STEPS = ["Reading the posting", "Reading the master CV", "Researching the company", "Analysing the requirements"]
for n, label in enumerate(STEPS, 1):
    print('::progress:: {"step": %d, "of": 7, "label": "%s"}' % (n, label), flush=True)
    print(f'\x1b[36m{label}\x1b[0m ...', flush=True)
    for each in range(5):
        said = '\x1b[32mtaken' if each % 3 else '\x1b[33mkept for later'
        print(f'  looked at {each + 1} of 5: {said}\x1b[0m')
time.sleep(600)
"""
PIPELINES: dict[str, dict[str, Any]] = {
    "live": {"command": ["python", "-uc", LIVE], "artifacts": {}},
    "broken": {"command": ["python", "-c", "raise SystemExit(3)"], "artifacts": {}},
}


def main() -> None:
    """Take all screenshots."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        more = [str(number) for number in range(4801, 4810)]
        with Site(Path(directory), PIPELINES, postings=more, MAX_CONCURRENCY="2") as site, chromium() as browser:
            pages = _pages(site)
            for look, scheme, size in LOOKS:
                context = browser.new_context(color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
                page = context.new_page()
                page.goto(f"{site.frontend.url}/login")
                _take(page, f"login-{look}")
                sign_in(page, site.frontend)
                for name, (path, ready) in pages.items():
                    page.goto(site.frontend.url + path)
                    ready(page)
                    _take(page, f"{name}-{look}")
                context.close()


def _pages(site: Site) -> dict[str, tuple[str, Callable[[Page], None]]]:
    """Launch runs to fill the pages; return each page's path and a function that waits until it is ready."""
    launcher = site.launcher
    finished = [
        launcher.wait(launcher.run(job_id)["run_id"], 60)["run_id"] for job_id in ("4711", "4712", "4801", "4802")
    ]
    launcher.wait(launcher.run("4803", pipeline="broken")["run_id"])
    running, _, waiting = (launcher.run(job_id, pipeline="live")["run_id"] for job_id in ("4804", "4805", "4806"))

    def badge(status: str) -> Callable[[Page], None]:
        def ready(page: Page) -> None:
            expect(page.locator("#run-status .badge")).to_have_text(status)
            if status != "queued":
                expect(page.locator("#logs .line").nth(12)).to_be_attached()

        return ready

    def preview(page: Page) -> None:
        badge("completed")(page)
        page.get_by_role("link", name="Preview CV.md").click()
        expect(page.locator("#preview h1").first).to_be_visible()

    def slots(page: Page) -> None:
        expect(page.get_by_text("slots in use")).to_be_visible()

    return {
        "jobs": ("/jobs", slots),
        "run-live": (f"/runs/{running}", badge("running")),
        "run-waiting": (f"/runs/{waiting}", badge("queued")),
        "run-ended": (f"/runs/{finished[0]}", badge("completed")),
        "preview": (f"/runs/{finished[0]}", preview),
        "runs": ("/runs", slots),
        "error": ("/runs/no-such-run", lambda page: expect(page.get_by_role("heading", level=1)).to_be_visible()),
    }


def _take(page: Page, name: str) -> None:
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file, animations="disabled", caret="hide")
    assert file.stat().st_size < MAX_BYTES, f"{file} is too large for the repository"
    print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
