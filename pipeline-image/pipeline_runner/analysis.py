"""What the posting asks for, and what in the master CV answers each point: by the model, or by words alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipeline_runner.answers import Answer
from pipeline_runner.assistance import Assistance
from pipeline_runner.fact_lists import material, named
from pipeline_runner.fit import MOST_EVIDENCE, Comparison, Verdict, compare
from pipeline_runner.postings import Posting
from pipeline_runner.ranking import Fact
from pipeline_runner.requirements import MOST_REQUIREMENTS, requirements_of
from pipeline_runner.text import one_line, surfaces, words
from pipeline_runner.tracing import new_words

_TASK = (
    "List what the posting requires of an applicant, the most important first, each in the posting's own words. "
    "For each, name the ids of the facts that are evidence, the best first, and say whether they meet it: "
    "'met', 'partly met', or 'gap' when no fact is evidence. Be strict: kindred technologies are 'partly met'."
)


class _AskedFor(Answer):
    requirement: str
    verdict: Literal["met", "partly met", "gap"]
    facts: list[str]


class _Requirements(Answer):
    requirements: list[_AskedFor]


def analyse(posting: Posting, facts: Sequence[Fact], assistance: Assistance) -> list[Comparison]:
    """Return each requirement with its evidence, or as a gap."""
    answer = assistance.ask(_TASK, material(posting, facts), _Requirements)
    asked = answer.requirements if answer else []
    found = [_comparison(one, facts) for one in asked if _is_of(posting, one.requirement)]
    return found[:MOST_REQUIREMENTS] or compare(requirements_of(posting), facts)


def _is_of(posting: Posting, requirement: str) -> bool:
    """Whether the posting says it: a requirement that the model made up is none."""
    return bool(requirement.strip()) and not new_words(requirement, [posting.text])


def _comparison(asked: _AskedFor, facts: Sequence[Fact]) -> Comparison:
    evidence = tuple(named(asked.facts, facts)[:MOST_EVIDENCE])
    verdict = Verdict(asked.verdict) if evidence else Verdict.GAP
    requirement = one_line(asked.requirement)
    said = {word for fact in evidence for word in words(fact.text)}
    return Comparison(
        requirement=requirement,
        verdict=verdict,
        evidence=() if verdict is Verdict.GAP else evidence,
        found=tuple(surface for stem, surface in surfaces(requirement).items() if stem in said),
        missing=tuple(surface for stem, surface in surfaces(requirement).items() if stem not in said),
    )
