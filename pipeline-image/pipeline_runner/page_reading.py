"""The posting's own page: read with a browser where that succeeds, else the stored text, and which of them it was."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline_runner.browsing import Browser, Visit
from pipeline_runner.postings import Posting
from pipeline_runner.text import words

SHORTEST_TEXT = 200  # characters; a posting has more
LONGEST_WALL = 2_000  # characters; a page with more is not only a wall
SHARE_OF_TITLE = 0.5  # of the title's words that must be on the page
_WALLS = (
    (r"(enable|requires|aktivieren sie) javascript|javascript (is )?(required|disabled)", "it wants another browser"),
    (r"captcha|(you are|are you) (a )?human|not a robot|kein roboter|checking your browser", "it asks for a human"),
    (r"access denied|forbidden|blocked|zugriff verweigert", "it refuses"),
    (r"cookie|consent|einwilligung", "it shows only its cookie wall"),
    (r"(sign|log) in to (view|see|continue)|bitte (melden sie sich an|einloggen)", "it asks to sign in"),
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """The text of a posting, and where it is from."""

    #: The page's main text, or the stored one. Clean, with its line breaks.
    text: str
    #: Of the page; empty where the stored text is used.
    title: str = ""
    #: Where the page is, after redirects; empty where the stored text is used.
    url: str = ""
    #: True: `text` is the page's; False: it is what was stored with the posting.
    from_page: bool
    #: What was used and why, as a sentence for people.
    note: str
    #: A PNG of the page that could not be used.
    screenshot: bytes | None = None


def read_page(posting: Posting, browser: Browser) -> Page:
    """Read the page that the posting names; whatever prevents that, the stored text is the answer."""
    if not posting.url:
        return Page(
            text=posting.description, from_page=False, note="The posting names no page: its stored text is used"
        )
    visit = browser.visit(posting.url)
    problem = visit.error or problem_with(visit) or _problem_of_topic(visit, posting)
    if problem:
        stored = "its stored text is used" if posting.description else "and no text is stored with it"
        note = f"The posting's page could not be read, as {problem}: {stored}"
        return Page(text=posting.description, from_page=False, note=note, screenshot=visit.screenshot)
    return Page(
        text=visit.text, title=visit.title, url=visit.url, from_page=True, note=f"Read from the page {visit.url}"
    )


def problem_with(visit: Visit) -> str:
    """Say why what a visit shows is no content, as half a sentence; empty where it is content."""
    if visit.status is not None and visit.status >= 400:
        return f"the site answered {visit.status}"
    if len(visit.text) <= LONGEST_WALL:
        said = f"{visit.title}\n{visit.text}"
        for pattern, problem in _WALLS:
            if _is_about(pattern, said):
                return problem
    if len(visit.text) < SHORTEST_TEXT:
        return "there is hardly any text on it"
    return ""


def _is_about(pattern: str, text: str) -> bool:
    """Whether a text is about this; a posting may mention cookies once, in a footer."""
    found = len(re.findall(pattern, text, re.IGNORECASE))
    return found > 0 and (len(text) < 600 or found >= 3)


def _problem_of_topic(visit: Visit, posting: Posting) -> str:
    """A posting that has expired often leads to a list of others."""
    sought = set(words(posting.title))
    found = sought & set(words(f"{visit.title}\n{visit.text}"))
    if len(found) < SHARE_OF_TITLE * len(sought):
        return "it does not speak of this position"
    return ""
