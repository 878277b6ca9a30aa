"""The posting's requirements, and the evidence for each in the master CV: found by the model, or by matching words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipeline_runner.answers import Answer
from pipeline_runner.assistance import Assistance
from pipeline_runner.fact_lists import material, named
from pipeline_runner.fit import MAX_EVIDENCE, Comparison, Verdict, compare
from pipeline_runner.postings import Posting
from pipeline_runner.ranking import Fact
from pipeline_runner.requirements import MAX_REQUIREMENTS, requirements_of
from pipeline_runner.text import one_line, surfaces, words
from pipeline_runner.tracing import new_words

_TASK = (
    "List what the posting requires of an applicant, the most important first, each in the posting's own words. "
    "For each, name the ids of the facts that are evidence, the best first, and say whether they meet it: "
    "'met', 'partly met', or 'gap' when no fact is evidence. Be strict: kindred technologies are 'partly met'."
)


class _Requirement(Answer):
    requirement: str
    verdict: Literal["met", "partly met", "gap"]
    facts: list[str]


class _Requirements(Answer):
    requirements: list[_Requirement]


def analyse(posting: Posting, facts: Sequence[Fact], assistance: Assistance) -> list[Comparison]:
    """Return each requirement with its evidence, or as a gap."""
    answer = assistance.ask(_TASK, material(posting, facts), _Requirements)
    requirements = answer.requirements if answer else []
    found = [_comparison(one, facts) for one in requirements if _is_in(posting, one.requirement)]
    return found[:MAX_REQUIREMENTS] or compare(requirements_of(posting), facts)


def _is_in(posting: Posting, requirement: str) -> bool:
    """Whether the posting contains the requirement, rather than the model having invented it."""
    return bool(requirement.strip()) and not new_words(requirement, [posting.text])


def _comparison(answer: _Requirement, facts: Sequence[Fact]) -> Comparison:
    evidence = tuple(named(answer.facts, facts)[:MAX_EVIDENCE])
    verdict = Verdict(answer.verdict) if evidence else Verdict.GAP
    requirement = one_line(answer.requirement)
    evident = {word for fact in evidence for word in words(fact.text)}
    return Comparison(
        requirement=requirement,
        verdict=verdict,
        evidence=() if verdict is Verdict.GAP else evidence,
        found=tuple(surface for stem, surface in surfaces(requirement).items() if stem in evident),
        missing=tuple(surface for stem, surface in surfaces(requirement).items() if stem not in evident),
    )
