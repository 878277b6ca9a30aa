"""``CV.md``: the master CV, cut and ordered for one posting. Not a word in it is new."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline_runner.master_cv import Entry, Kind, MasterCv, Section
from pipeline_runner.profiles import Profile
from pipeline_runner.ranking import rank
from pipeline_runner.text import words

_SKILL_LIST = re.compile(r"(?P<label>\*\*[^*]+\*\*:?\s*|[^,:*]+:\s+)?(?P<items>[^.;()\[\]`:]+,[^.;()\[\]`:]+)")


def write_cv(cv: MasterCv, query: Sequence[str], profile: Profile) -> str:
    """Return the CV as Markdown.

    Profile, skills and experience come first, in this order, then the other sections in the CV's own. Roles keep
    their order and are never dropped; their bullets are ordered by relevance, and the least relevant ones go.
    """
    blocks = [f"# {cv.name}"] if cv.name else []
    if cv.contact:
        blocks.append("  \n".join(cv.contact))
    for section in cv.of_kind(Kind.PROFILE):
        blocks += [f"## {section.title}", *_paragraphs(section)[: profile.profile_paragraphs]]
    for section in cv.of_kind(Kind.SKILLS):
        blocks += [f"## {section.title}", *_skills(section, query)]
    blocks += _experience(cv.of_kind(Kind.EXPERIENCE), query, profile)
    for section in cv.of_kind(Kind.OTHER, Kind.EDUCATION, Kind.LANGUAGES):
        blocks.append(f"## {section.title}")
        for entry in section.entries:
            blocks += _entry(entry, entry.bullets)
    return "\n\n".join(blocks) + "\n"


def _paragraphs(section: Section) -> list[str]:
    return [text for entry in section.entries for text in (entry.heading, *entry.details, *entry.bullets) if text]


def _skills(section: Section, query: Sequence[str]) -> list[str]:
    blocks = []
    for entry in section.entries:
        ordered = [entry.bullets[match.index] for match in rank(entry.bullets, query)]
        details = [_order_items(text, query) for text in entry.details]
        blocks += _entry(Entry(heading=entry.heading, details=details), [_order_items(text, query) for text in ordered])
    return blocks


def _order_items(line: str, query: Sequence[str]) -> str:
    """Put those items of ``**Label:** one, two, three`` first that the posting names; leave prose as it is."""
    parts = _SKILL_LIST.fullmatch(line)
    if not parts:
        return line
    wanted = frozenset(query)
    items = [item.strip() for item in parts["items"].split(",")]
    items.sort(key=lambda item: wanted.isdisjoint(words(item)))
    return (parts["label"] or "") + ", ".join(items)


def _experience(sections: Sequence[Section], query: Sequence[str], profile: Profile) -> list[str]:
    entries = [entry for section in sections for entry in section.entries]
    bullets = [bullet for entry in entries for bullet in entry.bullets]
    place = {match.index: place for place, match in enumerate(rank(bullets, query))}  # over all roles at once
    blocks: list[str] = []
    first = 0
    number = 0
    for section in sections:
        blocks.append(f"## {section.title}")
        for entry in section.entries:
            recent = number < profile.recent_roles
            most = profile.bullets_in_recent_roles if recent else profile.bullets_in_older_roles
            own = sorted(range(first, first + len(entry.bullets)), key=place.__getitem__)
            blocks += _entry(entry, [bullets[index] for index in own[:most]])
            first += len(entry.bullets)
            number += 1
    return blocks


def _entry(entry: Entry, bullets: Sequence[str]) -> list[str]:
    blocks = [f"### {entry.heading}"] if entry.heading else []
    blocks += entry.details
    if bullets:
        blocks.append("\n".join(f"- {bullet}" for bullet in bullets))
    return blocks
