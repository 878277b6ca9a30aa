"""``CV.md``: the master CV, shortened and ordered for one posting, with nothing added."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipeline_runner.master_cv import Entry, Kind, MasterCv, Section
from pipeline_runner.profiles import Profile
from pipeline_runner.ranking import rank
from pipeline_runner.text import words

_SKILL_LIST = re.compile(r"(?P<label>\*\*[^*]+\*\*:?\s*|[^,:*]+:\s+)?(?P<items>[^.;()\[\]`:]+,[^.;()\[\]`:]+)")


def write_cv(
    cv: MasterCv,
    query: Sequence[str],
    profile: Profile,
    *,
    preferred: Sequence[str] = (),
    wording: Mapping[str, str] | None = None,
) -> str:
    """Return the CV as Markdown.

    The profile orders the sections. Roles keep their order and are never dropped. Their bullets are ordered, those in
    `preferred` first and the others by relevance; the last ones are dropped. `wording` maps texts to their rewordings.
    """
    blocks = [f"# {cv.name}"] if cv.name else []
    if cv.contact:
        blocks.append("  \n".join(cv.contact))
    for kinds in _order(profile):
        sections = cv.of_kind(*kinds)
        if kinds == (Kind.EXPERIENCE,):
            blocks += _experience(sections, query, profile, preferred, wording or {})
            continue
        for section in sections:
            blocks.append(f"## {section.title}")
            match section.kind:
                case Kind.PROFILE:
                    texts = _paragraphs(section)[: profile.length.profile_paragraphs]
                    blocks += [(wording or {}).get(text, text) for text in texts]
                case Kind.SKILLS:
                    blocks += _skills(section, query)
                case _:
                    for entry in section.entries:
                        blocks += _entry(entry, [(wording or {}).get(bullet, bullet) for bullet in entry.bullets])
    return "\n\n".join(blocks) + "\n"


def _order(profile: Profile) -> list[tuple[Kind, ...]]:
    """Return the order of the sections; consecutive kinds keep the CV's own order among themselves."""
    groups: list[tuple[Kind, ...]] = []
    for name in profile.sections:
        kind = Kind[name.upper()]
        alone = (Kind.PROFILE, Kind.SKILLS, Kind.EXPERIENCE)
        if groups and kind not in alone and groups[-1][-1] not in alone:
            groups[-1] += (kind,)
        else:
            groups.append((kind,))
    if (Kind.EXPERIENCE,) not in groups:  # a CV needs its roles
        groups.append((Kind.EXPERIENCE,))
    return groups


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
    """In ``**Label:** one, two, three``, put the items that the posting mentions first; leave prose unchanged."""
    parts = _SKILL_LIST.fullmatch(line)
    if not parts:
        return line
    wanted = frozenset(query)
    items = [item.strip() for item in parts["items"].split(",")]
    items.sort(key=lambda item: wanted.isdisjoint(words(item)))
    return (parts["label"] or "") + ", ".join(items)


def _experience(
    sections: Sequence[Section],
    query: Sequence[str],
    profile: Profile,
    preferred: Sequence[str],
    wording: Mapping[str, str],
) -> list[str]:
    length = profile.length
    entries = [entry for section in sections for entry in section.entries]
    bullets = [bullet for entry in entries for bullet in entry.bullets]
    chosen = {text: number for number, text in reversed(list(enumerate(preferred)))}
    ranked = sorted(rank(bullets, query), key=lambda match: chosen.get(bullets[match.index], len(chosen)))
    place = {match.index: place for place, match in enumerate(ranked)}  # over all roles at once
    blocks: list[str] = []
    first = 0
    number = 0
    for section in sections:
        blocks.append(f"## {section.title}")
        for entry in section.entries:
            recent = number < length.recent_roles
            most = length.bullets_in_recent_roles if recent else length.bullets_in_older_roles
            own = sorted(range(first, first + len(entry.bullets)), key=place.__getitem__)
            blocks += _entry(entry, [wording.get(bullets[index], bullets[index]) for index in own[:most]])
            first += len(entry.bullets)
            number += 1
    return blocks


def _entry(entry: Entry, bullets: Sequence[str]) -> list[str]:
    blocks = [f"### {entry.heading}"] if entry.heading else []
    blocks += entry.details
    if bullets:
        blocks.append("\n".join(f"- {bullet}" for bullet in bullets))
    return blocks
