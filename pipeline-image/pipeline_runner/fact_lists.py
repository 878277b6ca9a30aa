"""Facts with ids for the model, which refers to them and cannot add its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline_runner.markup import plain
from pipeline_runner.postings import Posting
from pipeline_runner.ranking import Fact

MAX_POSTING_LENGTH = 20_000  # characters; the rest of a longer posting is not about the job


def listed(facts: Sequence[Fact]) -> str:
    """Format the facts, one per line: ``F1 (Engineer, Example GmbH): Grew roses.``"""
    return "\n".join(f"F{number} ({fact.where}): {plain(fact.text)}" for number, fact in enumerate(facts, 1))


def named(ids: Iterable[str], facts: Sequence[Fact]) -> list[Fact]:
    """Return the facts with these ids, in order and without duplicates; invalid ids are ignored."""
    by_id = {f"F{number}": fact for number, fact in enumerate(facts, 1)}
    return [by_id[one] for one in dict.fromkeys(one.strip() for one in ids) if one in by_id]


def material(posting: Posting, facts: Sequence[Fact]) -> str:
    """Format posting and facts for the model."""
    heading = f"{posting.title or 'untitled'}, {posting.company or 'unknown company'}, {posting.location or 'no place'}"
    text = "\n".join((posting.description, *posting.requirements))[:MAX_POSTING_LENGTH]
    return f"<posting>\n{heading}\n{text}\n</posting>\n\n<facts>\n{listed(facts)}\n</facts>"
