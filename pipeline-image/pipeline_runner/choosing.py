"""The facts of the master CV that fit the posting best: chosen by the model, completed by rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_runner.answers import Answer
from pipeline_runner.assistance import Assistance
from pipeline_runner.fact_lists import material, named
from pipeline_runner.fit import Comparison
from pipeline_runner.letter_writing import strongest_facts
from pipeline_runner.postings import Posting
from pipeline_runner.profiles import Profile
from pipeline_runner.ranking import Fact, query_of

_TASK = (
    "Choose what of the facts an application for this posting should show. 'cv': the ids of the facts that answer the "
    "posting best, the best first. 'letter': the ids of the {letter} facts that a letter should tell, in the order of "
    "telling: achievements of roles or projects, no two of the same kind."
)


class _Chosen(Answer):
    cv: list[str]
    letter: list[str]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The facts that the documents show first."""

    #: The posting's words, which rank all facts that are not in `preferred`.
    query: list[str]
    #: The facts that come first in the CV, best first.
    preferred: list[Fact]
    #: The facts for the letter, in order.
    letter: list[Fact]


def choose(
    posting: Posting,
    comparisons: Sequence[Comparison],
    facts: Sequence[Fact],
    profile: Profile,
    assistance: Assistance,
) -> Choice:
    """Choose facts for the CV and the letter."""
    query = query_of(posting, [comparison.requirement for comparison in comparisons])
    most = profile.length.letter_facts
    answer = assistance.ask(_TASK.format(letter=most), material(posting, facts), _Chosen)
    letter = [fact for fact in named(answer.letter, facts) if fact.is_achievement] if answer else []
    letter += [fact for fact in strongest_facts(facts, query, most) if fact not in letter]
    return Choice(query=query, preferred=named(answer.cv, facts) if answer else [], letter=letter[:most])
