"""The CV and the letter, written and then checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_runner.assistance import Assistance
from pipeline_runner.choosing import Choice
from pipeline_runner.cv_writing import write_cv
from pipeline_runner.letter_frames import frame
from pipeline_runner.letter_writing import write_letter
from pipeline_runner.master_cv import MasterCv
from pipeline_runner.postings import Posting
from pipeline_runner.profiles import Profile
from pipeline_runner.ranking import Fact
from pipeline_runner.text import language
from pipeline_runner.tracing import Removed, remove_untraceable
from pipeline_runner.wording import reword


@dataclass(frozen=True, kw_only=True)
class Documents:
    """The finished documents."""

    cv: str
    letter: str
    #: The number of facts that the letter rewords.
    reworded: int
    #: The sentences that could not be traced to the master CV and were left out.
    removed: list[Removed]


def write_documents(
    cv: MasterCv,
    posting: Posting,
    choice: Choice,
    facts: Sequence[Fact],
    profile: Profile,
    assistance: Assistance,
) -> Documents:
    """Write both; every word is from the master CV or from the letter's fixed sentences."""
    wording = reword(posting, choice, facts, profile, assistance)
    known = cv.texts()
    cv_text, removed_from_cv = remove_untraceable(
        write_cv(cv, choice.query, profile, preferred=[fact.text for fact in choice.preferred], wording=wording.cv),
        known,
    )
    own_language = language(" ".join(fact.text for fact in facts)) or "English"
    around = frame(own_language if profile.language == "auto" else profile.language, profile.tone)
    skeleton = write_letter(MasterCv(), posting, [], around=around) + around.quotes + around.summary
    letter, removed_from_letter = remove_untraceable(
        write_letter(cv, posting, choice.letter, around=around, wording=wording.letter), [*known, skeleton]
    )
    return Documents(
        cv=cv_text,
        letter=letter,
        reworded=sum(fact.text in wording.letter for fact in choice.letter),
        removed=[*wording.removed, *removed_from_cv, *removed_from_letter],
    )
