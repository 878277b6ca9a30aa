"""The text of the posting: from its page, read with a browser, or the stored text if that fails."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline_runner.browsing import Browser, Visit
from pipeline_runner.postings import Posting
from pipeline_runner.text import words

MIN_TEXT_LENGTH = 200  # characters; a posting has more
MAX_WALL_LENGTH = 2_000  # characters; a longer page has content besides a wall
SHARE_OF_TITLE = 0.5  # of the title's words must be on the page
STORED_TEXT_USED = "the stored text is used"
NO_URL = f"The posting has no URL; {STORED_TEXT_USED}"
READ_FROM = "Read from the page"
_WALLS = (
    (r"(enable|requires|aktivieren sie) javascript|javascript (is )?(required|disabled)", "it needs another browser"),
    (r"captcha|(you are|are you) (a )?human|not a robot|kein roboter|checking your browser", "it shows a CAPTCHA"),
    (r"access denied|forbidden|blocked|zugriff verweigert", "it denies access"),
    (r"cookie|consent|einwilligung", "it shows only a cookie wall"),
    (r"(sign|log) in to (view|see|continue)|bitte (melden sie sich an|einloggen)", "it requires sign-in"),
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """The text of a posting and its source."""

    #: The page's main text, or the stored text; cleaned, with line breaks.
    text: str
    #: The page's title; empty if the stored text is used.
    title: str = ""
    #: The page's URL after redirects; empty if the stored text is used.
    url: str = ""
    #: True: `text` is from the page; False: it is the stored text.
    from_page: bool
    #: Which text is used and why, as a sentence.
    note: str
    #: A PNG of a page that could not be read.
    screenshot: bytes | None = None


def read_page(posting: Posting, browser: Browser) -> Page:
    """Read the posting's page; if that fails, use the stored text."""
    if not posting.url:
        return Page(text=posting.description, from_page=False, note=NO_URL)
    visit = browser.visit(posting.url)
    problem = visit.error or problem_with(visit) or _problem_of_topic(visit, posting)
    if problem:
        stored = STORED_TEXT_USED if posting.description else "no text is stored with it"
        note = f"The posting's page could not be read ({problem}); {stored}"
        return Page(text=posting.description, from_page=False, note=note, screenshot=visit.screenshot)
    return Page(text=visit.text, title=visit.title, url=visit.url, from_page=True, note=f"{READ_FROM} {visit.url}")


def problem_with(visit: Visit) -> str:
    """Say why a visit found no content, as part of a sentence; empty if it did."""
    if visit.status is not None and visit.status >= 400:
        return f"the site answered {visit.status}"
    if len(visit.text) <= MAX_WALL_LENGTH:
        text = f"{visit.title}\n{visit.text}"
        for pattern, problem in _WALLS:
            if _is_about(pattern, text):
                return problem
    if len(visit.text) < MIN_TEXT_LENGTH:
        return "it has hardly any text"
    return ""


def _is_about(pattern: str, text: str) -> bool:
    """Whether a text is about this, rather than mentioning it once, like cookies in a footer."""
    found = len(re.findall(pattern, text, re.IGNORECASE))
    return found > 0 and (len(text) < 600 or found >= 3)


def _problem_of_topic(visit: Visit, posting: Posting) -> str:
    """Say whether the page is about another topic: an expired posting often redirects to a list of others."""
    expected = set(words(posting.title))
    found = expected & set(words(f"{visit.title}\n{visit.text}"))
    if len(found) < SHARE_OF_TITLE * len(expected):
        return "it does not mention this position"
    return ""
