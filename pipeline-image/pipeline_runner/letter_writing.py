"""``cover_letter.txt``: a short letter that states facts from the CV and nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from pipeline_runner.letter_frames import Frame, frame
from pipeline_runner.markup import plain
from pipeline_runner.master_cv import Kind, MasterCv
from pipeline_runner.postings import Posting
from pipeline_runner.ranking import Fact, rank
from pipeline_runner.text import sentences

FACTS_QUOTED = 3
LINE_WIDTH = 78  # characters
ENGLISH_PLAIN = frame("English", "plain")


def strongest_facts(facts: Sequence[Fact], query: Sequence[str], most: int = FACTS_QUOTED) -> list[Fact]:
    """Return the facts that a letter should quote: the best matches, or else the first ones in the CV."""
    candidates = [fact for fact in facts if fact.is_achievement]
    ranked = rank([fact.text for fact in candidates], query)
    chosen = [match for match in ranked if match.shared] or ranked
    return [candidates[match.index] for match in chosen[:most]]


def write_letter(
    cv: MasterCv,
    posting: Posting,
    facts: Sequence[Fact],
    *,
    around: Frame = ENGLISH_PLAIN,
    wording: Mapping[str, str] | None = None,
) -> str:
    """Return the letter as text, without a date: the sender adds it on the day of sending.

    `wording` maps the text of a fact to a reworded sentence; other facts are quoted.
    """
    wording = wording or {}
    company = around.at_company.format(company=posting.company) if posting.company else ""
    role = around.role.format(role=posting.title) if posting.title else around.untitled_role
    found_at = around.found_at.format(url=posting.url) if posting.url else ""
    summary = _first_sentence(cv)
    blocks = [
        "\n".join(filter(None, (plain(cv.name), *map(plain, cv.contact)))),
        "\n".join(filter(None, (posting.company, posting.location))),
        around.subject.format(role=posting.title or around.untitled),
        around.salutation.format(company=company),
        _fill(around.opening.format(role=role, company=company) + found_at),
        _fill(around.summary.format(summary=summary)) if summary else "",
        _fill(" ".join(wording[fact.text] for fact in facts if fact.text in wording)),
    ]
    quoted = [fact for fact in facts if fact.text not in wording]
    if quoted:
        # A neutral introduction, as the facts may be the first ones in the CV and not matches.
        blocks += [around.quotes, *map(_quote, quoted)]
    blocks += [_fill(around.enclosure), around.thanks, "\n".join(filter(None, (around.farewell, plain(cv.name))))]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _first_sentence(cv: MasterCv) -> str:
    for section in cv.of_kind(Kind.PROFILE):
        for entry in section.entries:
            for text in (*entry.details, *entry.bullets):
                return next(iter(sentences(plain(text))), "")
    return ""


def _quote(fact: Fact) -> str:
    return _fill(f"- {plain(fact.text)}", indent="  ") + (f"\n  ({fact.where})" if fact.where else "")


def _fill(text: str, *, indent: str = "") -> str:
    return textwrap.fill(text, LINE_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
