"""Compares requirements with the CV by words: evidence or a gap for each, and a score."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import Enum

from pipeline_runner.markup import plain
from pipeline_runner.ranking import Fact, rank
from pipeline_runner.text import surfaces

MET_FROM_SHARE = 0.5  # of a requirement's words, as many list alternatives: "Terraform or Ansible"
MAX_EVIDENCE = 2  # facts per requirement
_NAME = re.compile(r"[^\W_a-zäöüß]")  # a capital letter, a digit, or a letter of a script without case
_YEARS = re.compile(r"\d+\s*\+?\s*(?:or more\s+)?(?:years?|yrs|jahre?n?)\b|(?:mehrjährig|several years)", re.IGNORECASE)


class Verdict(Enum):
    """The result of comparing one requirement."""

    MET = "met"
    PARTLY = "partly met"
    GAP = "gap"
    UNCLEAR = "not judged"  # only words that every posting uses


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One requirement and its evidence in the CV."""

    requirement: str
    verdict: Verdict
    evidence: tuple[Fact, ...]
    #: The requirement's words that the evidence contains and lacks, as the posting spells them.
    found: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def asks_for_years(self) -> bool:
        """Whether it requires a number of years, which matching words cannot confirm."""
        return bool(_YEARS.search(self.requirement))


def compare(requirements: Sequence[str], facts: Sequence[Fact]) -> list[Comparison]:
    """Compare each requirement with all facts."""
    return [_compare(requirement, facts) for requirement in requirements]


def score_of(comparisons: Sequence[Comparison]) -> int | None:
    """Return 0 to 100: a met requirement counts 1, a partly met one 0.5. None if none could be judged."""
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
        if len(evidence) == MAX_EVIDENCE or not match.shared:
            break
        fact = facts[match.index]
        adds = _is_evidence(match.shared - covered, fact, len(asked))
        illustrates = fact.is_achievement and not any(one.is_achievement for one in evidence)
        if adds or (evidence and illustrates and _is_evidence(match.shared, fact, len(asked))):
            covered |= match.shared
            evidence.append(fact)
    return Comparison(
        requirement=requirement,
        verdict=_verdict(len(covered), len(asked)),
        evidence=tuple(evidence),
        found=tuple(surface for stem, surface in asked.items() if stem in covered),
        missing=tuple(surface for stem, surface in asked.items() if stem not in covered),
    )


def _is_evidence(shared: Set[str], fact: Fact, asked: int) -> bool:
    """Tell evidence from chance: a single common word ("service", "code") is not evidence.

    Two words are, or one that the CV spells as a name ("Python", "k3s"), or half of the requirement.
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
