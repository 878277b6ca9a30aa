"""The log view in a real Chromium: escaping, colours, following and searching."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect
from werkzeug.serving import make_server

from frontend.app import create_app
from frontend.messages import receipt
from launcher.domain.reasons import Reason, sentence
from launching import page_texts
from launching.launcher import Launcher

LINES = 3000
HOSTILE = [
    "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title='taken over'\">",
    "\x1b]0;title\x07bell\x07 back\bspace \x1b[2J\x1b[Hcleared \x9b31m null\0",
    "'; DROP TABLE \u202e reversed &lt;b&gt; {{ 7 * 7 }}",
    "",
    "求人 🚢",
]
SHOWN = [
    HOSTILE[0],
    "bell\u2407 back\u2408space cleared \ufffd31m null\u2400",
    HOSTILE[2],
    "",
    HOSTILE[4],
    "y" * 100_000,
]
PIPELINES: dict[str, dict[str, Any]] = {
    "hostile": {"command": ["python", "-c", f"for line in [*{HOSTILE!r}, 'y' * 100_000]: print(line)"]},
    "long": {"command": ["python", "-c", f"for n in range({LINES}): print('line', n)"]},
    "slow": {
        "command": ["python", "-uc", f"import time\nfor n in range({LINES}): print('line', n); time.sleep(0.01)"]
    },
    "redraws": {
        "command": [
            "python",
            "-uc",
            "import os, sys, time\nprint('before', end='\\n\\x1b[32m')\n"
            "for n in range(3): sys.stdout.write(f'\\r{n} <b>'); time.sleep(1.5)\n"
            "while not os.path.exists(os.environ['APPLICATIONS_DIR'] + '/go'): time.sleep(0.02)\n"
            "print('\\rdone'); print('after')",
        ]
    },
}  # fmt: skip
PLAIN: dict[str, Any] = {}


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("log-view"), PIPELINES) as running:
        yield running


@pytest.fixture(scope="module")
def url(launcher: Launcher) -> Iterator[str]:
    """The front end's URL; streams end after 5 s, so that the page has to reconnect."""
    environment = {"SLIPWAY_ENV": "development", "RUNNER_URL": launcher.url, "RUNNER_API_SECRET": launcher.secret}
    server = make_server("127.0.0.1", 0, create_app(environment | {"STREAM_SECONDS": "5"}, "127.0.0.1"), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(30)
    server.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test if a script throws or a dialog opens."""
    faults: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})

    def dismiss(dialog: Dialog) -> None:
        faults.append(dialog.message)
        dialog.dismiss()

    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", dismiss)
    yield opened
    opened.close()
    assert faults == []


def parsed(page: Page, *lines: str) -> list[tuple[str, dict[str, Any]]]:
    """How `ansi.js` parses consecutive lines."""
    script = """async (lines) => {
        const { parse } = await import('/static/ansi.js');
        let style;
        return lines.flatMap((line) => {
            const found = parse(line, style);
            style = found.style;
            return found.pieces.map(({ text, style }) => [text, style]);
        });
    }"""
    return [(text, style) for text, style in page.evaluate(script, list(lines))]


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("plain", [("plain", PLAIN)]),
        ("", []),
        ("\x1b[31mred\x1b[0m plain", [("red", {"fg": "var(--ansi-1)"}), (" plain", PLAIN)]),
        ("\x1b[1;92mbold\x1b[22;39mplain", [("bold", {"bold": True, "fg": "var(--ansi-10)"}), ("plain", PLAIN)]),
        ("\x1b[44m\x1b[7mswapped\x1b[m.", [("swapped", {"bg": "var(--ansi-4)", "inverse": True}), (".", PLAIN)]),
        ("\x1b[38;5;208mcube", [("cube", {"fg": "rgb(255 135 0)"})]),
        ("\x1b[48:5:240mgrey", [("grey", {"bg": "rgb(88 88 88)"})]),
        ("\x1b[38;2;1;2;3;4mtrue", [("true", {"fg": "rgb(1 2 3)", "underline": True})]),
        ("\x1b[38;5;999mno such", [("no such", PLAIN)]),
        ("\x1b[38;5mcut short", [("cut short", PLAIN)]),
        ("\x1b[38;5;x;url(evil)", [(";url(evil)", PLAIN)]),
        ("\x1b[2K\x1b[10;5Hmoves\x1b[?25l", [("moves", PLAIN)]),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x07", [("link", PLAIN)]),
        ("tab\tbell\x07 escape\x1b", [("tab\tbell\u2407 escape\u241b", PLAIN)]),
    ],
)  # fmt: skip
def test_colours_become_styles_and_other_sequences_are_removed(
    page: Page, url: str, line: str, pieces: list[tuple[str, dict[str, Any]]]
) -> None:
    page.goto(f"{url}/jobs")
    found = parsed(page, line)
    assert "".join(text for text, _ in found) == "".join(text for text, _ in pieces)
    assert [piece for piece in found if piece[1]] == [piece for piece in pieces if piece[1]]


def test_colour_continues_on_the_next_line(page: Page, url: str) -> None:
    page.goto(f"{url}/jobs")
    assert parsed(page, "\x1b[31mred", "still", "\x1b[0mnot") == [
        ("red", {"fg": "var(--ansi-1)"}),
        ("still", {"fg": "var(--ansi-1)"}),
        ("not", PLAIN),
    ]


def test_hostile_lines_are_escaped(page: Page, url: str, launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("4711", pipeline="hostile")["run_id"])["run_id"]
    page.goto(f"{url}/runs/{run_id}")
    lines = page.locator("#logs .line")
    expect(lines).to_have_count(len(SHOWN) + 2, timeout=20_000)  # plus the first line, and the long one in two parts
    texts = [text.replace(" [line continues]", "") for text in lines.all_text_contents()]
    assert [*texts[1:-2], texts[-2] + texts[-1]] == SHOWN
    assert page.title() == "Job 4711 · Slipway"
    assert page.locator("#logs img, #logs script").count() == 0
    expect(page.locator("#receipt")).to_have_text(receipt({"log": {"lines": len(SHOWN) + 2, "complete": True}}))


def test_log_follows_until_scrolled_up_and_after_clicking_follow(page: Page, url: str, launcher: Launcher) -> None:
    run_id = launcher.run("4711", pipeline="slow")["run_id"]
    page.goto(f"{url}/runs/{run_id}")
    page.locator('.line[data-n="200"]').wait_for(state="attached", timeout=30_000)
    expect(page.locator("#follow")).to_be_hidden()
    expect(page.locator("#logs .line").last).to_be_in_viewport()
    page.locator("#log-stream").hover()
    page.mouse.wheel(0, -500)
    expect(page.locator("#follow")).to_be_visible()
    top = page.locator("#log-stream").evaluate("element => element.scrollTop")
    shown = page.locator("#logs .line").count()
    page.locator(f'.line[data-n="{shown + 100}"]').wait_for(state="attached", timeout=30_000)
    assert page.locator("#log-stream").evaluate("element => element.scrollTop") <= top, (
        "new lines do not scroll the log"
    )
    page.locator("#follow").click()
    expect(page.locator("#follow")).to_be_hidden()
    expect(page.locator("#logs .line").last).to_be_in_viewport()
    launcher.client.delete(f"/jobs/{run_id}")
    expect(page.locator("#run-status")).to_contain_text(sentence(Reason.CANCELLED), timeout=30_000)


def test_search_counts_matches_and_wraps_around(page: Page, url: str, launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("4711", pipeline="long")["run_id"])["run_id"]
    page.goto(f"{url}/runs/{run_id}")
    page.locator(f'.line[data-n="{LINES + 1}"]').wait_for(state="attached", timeout=30_000)
    page.locator("#find-text").fill("LINE 29")
    count = page.locator("#find-count")
    expect(count).to_have_text("1 of 111")
    expect(page.locator(".line.current")).to_have_text("line 29")
    expect(page.locator(".line.current")).to_be_in_viewport()
    page.locator("#find-text").press("Enter")
    expect(page.locator(".line.current")).to_have_text("line 290")
    page.get_by_role("button", name=page_texts.PREVIOUS_MATCH).click()
    page.locator("#find-text").press("Shift+Enter")
    expect(count).to_have_text("111 of 111")
    expect(page.locator(".line.current")).to_have_text("line 2999")
    expect(page.locator(".line.current")).to_be_in_viewport()
    page.locator("#find-text").fill("nothing like this")
    expect(count).to_have_text(page_texts.NO_MATCHES)
    page.locator("#find-text").fill("")
    expect(count).to_have_text("")


def test_line_that_redraws_itself_is_replaced_in_place(launcher: Launcher, page: Page, url: str) -> None:
    run_id = launcher.run("7", pipeline="redraws")["run_id"]
    page.goto(f"{url}/runs/{run_id}")
    partial, lines = page.locator("#partial"), page.locator("#logs .line")
    for frame in ("0 <b>", "1 <b>", "2 <b>"):
        expect(partial).to_have_text(frame)
    expect(lines).to_have_text(["Starting pipeline redraws for job 7", "before"])
    page.reload()
    expect(partial).to_have_text("2 <b>")
    (Path(launcher.directory) / "applications" / run_id / "go").touch()
    expect(lines).to_have_text(["Starting pipeline redraws for job 7", "before", "done", "after"])
    expect(partial).to_be_hidden()
