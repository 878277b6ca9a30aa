"""Comparing requirements with the CV, by words: evidence or a gap for each, and a score with its reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import Enum

from pipeline_runner.markup import plain
from pipeline_runner.ranking import Fact, rank
from pipeline_runner.text import surfaces

MET_FROM_SHARE = 0.5  # of a requirement's words, since many name alternatives: "Terraform or Ansible"
MOST_EVIDENCE = 2  # facts for one requirement
_NAME = re.compile(r"[^\W_a-zäöüß]")  # a capital, a digit, or a letter of a script without capitals
_YEARS = re.compile(r"\d+\s*\+?\s*(?:or more\s+)?(?:years?|yrs|jahre?n?)\b|(?:mehrjährig|several years)", re.IGNORECASE)


class Verdict(Enum):
    """What the comparison of one requirement came to."""

    MET = "met"
    PARTLY = "partly met"
    GAP = "gap"
    UNCLEAR = "not judged"  # nothing but words that every posting uses


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One requirement and what the CV has for it."""

    requirement: str
    verdict: Verdict
    evidence: tuple[Fact, ...]
    #: The requirement's words that the evidence has, and those that it lacks, as the posting writes them.
    found: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def asks_for_years(self) -> bool:
        """Whether a number of years is asked for, which words cannot show."""
        return bool(_YEARS.search(self.requirement))


def compare(requirements: Sequence[str], facts: Sequence[Fact]) -> list[Comparison]:
    """Compare each requirement with all facts."""
    return [_compare(requirement, facts) for requirement in requirements]


def score_of(comparisons: Sequence[Comparison]) -> int | None:
    """Return 0 to 100: a requirement met counts one, one partly met a half. None when none could be judged."""
    judged = [comparison.verdict for comparison in comparisons if comparison.verdict is not Verdict.UNCLEAR]
    if not judged:
        return None
    points = 2 * judged.count(Verdict.MET) + judged.count(Verdict.PARTLY)
    return (100 * points + len(judged)) // (2 * len(judged))


def _compare(requirement: str, facts: Sequence[Fact]) -> Comparison:
    asked = surfaces(requirement)
    covered: set[str] = set()
    evidence: list[Fact] = []
    for match in rank([fact.text for fact in facts], list(asked)):
        if len(evidence) == MOST_EVIDENCE or not match.shared:
            break
        fact = facts[match.index]
        adds = _says_something(match.shared - covered, fact, len(asked))
        illustrates = fact.is_achievement and not any(one.is_achievement for one in evidence)
        if adds or (evidence and illustrates and _says_something(match.shared, fact, len(asked))):
            covered |= match.shared
            evidence.append(fact)
    return Comparison(
        requirement=requirement,
        verdict=_verdict(len(covered), len(asked)),
        evidence=tuple(evidence),
        found=tuple(surface for stem, surface in asked.items() if stem in covered),
        missing=tuple(surface for stem, surface in asked.items() if stem not in covered),
    )


def _says_something(shared: Set[str], fact: Fact, asked: int) -> bool:
    """Tell evidence from chance: a single everyday word in common ("service", "code") is none.

    Two words are, or one that the CV writes as a name ("Python", "k3s"), or half of what is asked for.
    """
    if len(shared) > 1 or (shared and len(shared) >= MET_FROM_SHARE * asked):
        return True
    _first, *later = surfaces(plain(fact.text)).items() or [("", "")]
    return any(stem in shared and _NAME.search(surface) for stem, surface in later)


def _verdict(covered: int, asked: int) -> Verdict:
    if not asked:
        return Verdict.UNCLEAR
    if not covered:
        return Verdict.GAP
    return Verdict.MET if covered >= MET_FROM_SHARE * asked else Verdict.PARTLY
