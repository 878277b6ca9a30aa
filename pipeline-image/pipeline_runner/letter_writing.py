"""``cover_letter.txt``: a short letter that quotes the CV and claims nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pipeline_runner.markup import plain
from pipeline_runner.master_cv import Kind, MasterCv
from pipeline_runner.postings import Posting
from pipeline_runner.ranking import Fact, rank
from pipeline_runner.text import sentences

FACTS_QUOTED = 3
LINE_WIDTH = 78  # characters


def strongest_facts(facts: Sequence[Fact], query: Sequence[str]) -> list[Fact]:
    """Return the facts that a letter should quote: those that match best, or else the first ones of the CV."""
    candidates = [fact for fact in facts if fact.is_achievement]
    ranked = rank([fact.text for fact in candidates], query)
    chosen = [match for match in ranked if match.shared] or ranked
    return [candidates[match.index] for match in chosen[:FACTS_QUOTED]]


def write_letter(cv: MasterCv, posting: Posting, facts: Sequence[Fact]) -> str:
    """Return the letter as text, without a date: the sender adds it on the day of sending."""
    role = f"the position of {posting.title}" if posting.title else "the position that you advertise"
    employer = f" at {posting.company}" if posting.company else ""
    blocks = [
        "\n".join(filter(None, (plain(cv.name), *map(plain, cv.contact)))),
        "\n".join(filter(None, (posting.company, posting.location))),
        "Application: " + (posting.title or "your advertised position"),
        f"Dear hiring team{employer},",
        _fill(f"I am applying for {role}{employer}." + (f" I found it at {posting.url}." if posting.url else "")),
    ]
    opening = _first_sentence(cv)
    if opening:
        blocks.append(_fill(f"In one sentence: {opening}"))
    if facts:
        # Neutral words, because the facts may be the latest ones and not the matching ones.
        blocks += ["From my work so far, in the words of my CV:", *map(_quote, facts)]
    blocks += [
        _fill("My CV, enclosed, gives the whole picture. I would be glad to tell you more in a conversation."),
        "Thank you for your time.",
        "\n".join(filter(None, ("Kind regards", plain(cv.name)))),
    ]
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
