"""Facts with ids, as a model sees them: it refers to them and cannot bring its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline_runner.markup import plain
from pipeline_runner.postings import Posting
from pipeline_runner.ranking import Fact

LONGEST_POSTING = 20_000  # characters; what a posting says beyond that is not about the job


def listed(facts: Sequence[Fact]) -> str:
    """Write the facts, one a line: ``F1 (Engineer, Example GmbH): Grew roses.``"""
    return "\n".join(f"F{number} ({fact.where}): {plain(fact.text)}" for number, fact in enumerate(facts, 1))


def named(ids: Iterable[str], facts: Sequence[Fact]) -> list[Fact]:
    """Return the facts with these ids, each once, in the order of the ids; what is no id is passed over."""
    by_id = {f"F{number}": fact for number, fact in enumerate(facts, 1)}
    return [by_id[one] for one in dict.fromkeys(one.strip() for one in ids) if one in by_id]


def material(posting: Posting, facts: Sequence[Fact]) -> str:
    """Write posting and facts for a model."""
    heading = f"{posting.title or 'untitled'}, {posting.company or 'unknown company'}, {posting.location or 'no place'}"
    text = "\n".join((posting.description, *posting.requirements))[:LONGEST_POSTING]
    return f"<posting>\n{heading}\n{text}\n</posting>\n\n<facts>\n{listed(facts)}\n</facts>"
