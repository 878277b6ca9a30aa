"""Finds the requirements in a posting's text."""

from __future__ import annotations

import re

from pipeline_runner.postings import Posting
from pipeline_runner.text import one_line, sentences

MAX_REQUIREMENTS = 25
_BULLET = re.compile(r"\s*(?:[-*+•◦▪●·✓✔]|\u2013|\d{1,2}[.)])\s+(?=\S)")  # \u2013: an en dash is common too
_MAX_HEADING_LENGTH = 60  # characters
_ASKING = re.compile(
    r"require|qualif|must|you bring|you have|your profile|who you are|looking for|expect|skills|nice to have|"
    r"anforderung|mitbring|bringst|dein profil|ihr profil|voraussetzung|erwarten|qualifikation|das bist du",
    re.IGNORECASE,
)
_OFFERING = re.compile(
    r"benefit|we offer|offer you|perks|about us|what you get|wir bieten|bieten wir|über uns|das erwartet dich",
    re.IGNORECASE,
)
_ASKING_SENTENCE = re.compile(
    r"\b(?:must|need|require[sd]?|expect|experience (?:with|in)|knowledge of|familiar|proficien\w+|"
    r"Erfahrung\w*|Kenntnisse\w*|voraus\w*|erwarten)\b",
    re.IGNORECASE,
)


def requirements_of(posting: Posting) -> list[str]:
    """Return the requirements, one line each, without duplicates.

    They come from the first of these that has any: the posting's own list; bullets under headings that ask for
    something; bullets that are not under a heading that offers something; sentences that ask for something.
    """
    asking, neutral = _bullets(posting.description)
    prose = (sentence for sentence in sentences(posting.description) if _ASKING_SENTENCE.search(sentence))
    found = list(posting.requirements) or asking or neutral or list(prose)
    return list(dict.fromkeys(found))[:MAX_REQUIREMENTS]


def _bullets(description: str) -> tuple[list[str], list[str]]:
    asking: list[str] = []
    neutral: list[str] = []
    heading = ""
    for line in description.split("\n"):
        mark = _BULLET.match(line)
        if mark:
            bullet = one_line(line[mark.end() :])
            if _ASKING.search(heading):
                asking.append(bullet)
            elif not _OFFERING.search(heading):
                neutral.append(bullet)
        elif line.strip() and len(line) <= _MAX_HEADING_LENGTH and not line.rstrip().endswith("."):
            heading = line
    return asking, neutral
