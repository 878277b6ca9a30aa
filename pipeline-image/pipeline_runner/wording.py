"""The model's rewording of the chosen facts; sentences that cannot be traced are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline_runner.answers import Answer
from pipeline_runner.assistance import Assistance
from pipeline_runner.choosing import Choice
from pipeline_runner.fact_lists import listed, named
from pipeline_runner.markup import plain
from pipeline_runner.master_cv import Kind
from pipeline_runner.postings import Posting
from pipeline_runner.profiles import Profile
from pipeline_runner.ranking import Fact
from pipeline_runner.tracing import Removed, objection

_TASK = (
    "Reword the facts for this posting: shorter, and with what matters here first. The tone is {tone}. 'cv': lines of "
    "a CV, without 'I'. 'letter': for each fact of the letter one sentence with 'I', in the language of the fact, that "
    "may name the role and the employer in the brackets. Each sentence is for one fact. Use only words of that fact, "
    "and articles, prepositions and forms of 'be' and 'have': any other word, number or name makes it void."
)
_MAX_CV_FACTS = 30
_ATTEMPTS = 2  # one retry for what could not be traced
_MAX_VOID, _MAX_VOID_LENGTH = 30, 300  # rejected sentences that are shown to the model, and their characters
_MARKS = ("](", "`", "<", "\\", "&")  # links, code and escapes are not reworded


class _Sentence(Answer):
    fact: str
    text: str


class _Wording(Answer):
    cv: list[_Sentence]
    letter: list[_Sentence]


@dataclass(kw_only=True)
class Wording:
    """Traced sentences, by the text of their facts."""

    cv: dict[str, str] = field(default_factory=dict)
    letter: dict[str, str] = field(default_factory=dict)
    #: The sentences that could not be traced.
    removed: list[Removed] = field(default_factory=list)


def reword(
    posting: Posting, choice: Choice, facts: Sequence[Fact], profile: Profile, assistance: Assistance
) -> Wording:
    """Have the model reword the facts, retry what cannot be traced, and keep what can."""
    material = (
        f"<posting>\n{posting.title}, {posting.company}\n</posting>\n\n"
        f"<facts>\n{listed(facts)}\n</facts>\n\nFor the CV: {_ids(choice.preferred[:_MAX_CV_FACTS], facts)}\n"
        f"For the letter: {_ids(choice.letter, facts)}"
    )
    wording = Wording()
    for _attempt in range(_ATTEMPTS):
        answer = assistance.ask(_TASK.format(tone=profile.tone), material, _Wording)
        if answer is None:
            break
        removed: list[Removed] = []
        _take(answer.cv, facts, wording.cv, removed, in_letter=False)
        _take(answer.letter, facts, wording.letter, removed, in_letter=True)
        wording.removed += removed
        if not removed:
            break
        void = "\n".join(
            f"- {one.sentence[:_MAX_VOID_LENGTH]} ({one.why[:_MAX_VOID_LENGTH]})" for one in removed[:_MAX_VOID]
        )
        material += f"\n\nThese sentences are void; say them in the facts' words, and leave out the others:\n{void}"
    return wording


def _take(
    sentences: Sequence[_Sentence],
    facts: Sequence[Fact],
    into: dict[str, str],
    removed: list[Removed],
    *,
    in_letter: bool,
) -> None:
    for sentence in sentences:
        text = sentence.text.strip()
        fact = next(iter(named([sentence.fact], facts)), None)
        if fact is None:
            removed.append(Removed(sentence=text, why=f"{sentence.fact!r} is not a fact"))
            continue
        why = objection(text, plain(fact.text), setting=fact.setting if in_letter else "")
        if why:
            removed.append(Removed(sentence=text, why=why))
        elif in_letter:
            into.setdefault(fact.text, text if text.endswith((".", "!", "?", "。")) else f"{text}.")
        elif _may_change(fact):
            into.setdefault(fact.text, text)


def _may_change(fact: Fact) -> bool:
    is_prose = fact.kind in (Kind.PROFILE, Kind.EXPERIENCE, Kind.OTHER)
    return is_prose and not any(mark in fact.text for mark in _MARKS)


def _ids(chosen: Sequence[Fact], facts: Sequence[Fact]) -> str:
    return ", ".join(f"F{facts.index(fact) + 1}" for fact in chosen) or "none"
