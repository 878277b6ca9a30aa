"""How long the browser's main thread is blocked while it follows a run with very many lines."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import expect

from launching.browser import SECONDS, chromium, longest_task_ms, sign_in, wait_for_lines, watch_tasks
from launching.installation import Installation
from launching.site import Site
from tests.bench.row import Row, spread

LINES = 100_000
FLOOD = f"for n in range({LINES}): print(f'{{n:06}} \\x1b[3{{n % 8}}mcoloured\\x1b[0m ' + 'word ' * 12)"
_GOAL_MS = 200


def browser(site: Installation, repeats: int) -> list[Row]:
    """The page's longest task from opening it to the last line, on the local engine: no cluster is involved."""
    longest = []
    for _ in range(max(1, repeats // 5)):
        with (
            tempfile.TemporaryDirectory(prefix="slipway-bench-") as directory,
            Site(Path(directory), {"flood": {"command": ["python", "-c", FLOOD], "artifacts": {}}}) as local,
            chromium() as started,
        ):
            page = started.new_page()
            sign_in(page, local.frontend)
            watch_tasks(page)
            local.launcher.client.post("/queue/pause")
            run_id = local.launcher.run("4711", pipeline="flood")["run_id"]
            page.goto(f"{local.frontend.url}/runs/{run_id}")
            expect(page.locator("#run-status .badge")).to_have_text("queued")
            local.launcher.client.post("/queue/resume")
            wait_for_lines(page, LINES + 1, 4 * SECONDS)
            longest.append(longest_task_ms(page))
    detail = f"while it follows {LINES:,} lines: {spread(longest, 'ms')}"
    return [Row(name="browser, longest task", value=max(longest), unit="ms", goal=_GOAL_MS, detail=detail)]
