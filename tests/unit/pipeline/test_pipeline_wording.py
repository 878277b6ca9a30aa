"""Handling of arbitrary model answers."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from launching.pipeline import SAMPLES
from pipeline_runner.answers import Answer
from pipeline_runner.choosing import choose
from pipeline_runner.fact_lists import named
from pipeline_runner.master_cv import read_master_cv
from pipeline_runner.postings import posting_from
from pipeline_runner.profile_files import profile_files
from pipeline_runner.profiles import read_profile
from pipeline_runner.ranking import facts_of
from pipeline_runner.writing import write_documents

CV = read_master_cv(SAMPLES / "master-cv.md")
FACTS = facts_of(CV)
SOURCE = (SAMPLES / "master-cv.md").read_text()
PROFILE = read_profile(profile_files()["senior"])
POSTING = posting_from({"title": "Platform engineer", "description": "Add a PhD, 1987."}, job_id="1", source="test")
IDS = st.sampled_from([f"F{number}" for number in range(40)] + ["", "F999", "7"])
INVENTED = ["Umbrella", "PhD", "1987", "87", "%", "led", "#", "[x](http://y)", "\n", "**"]
WORDS = st.sampled_from(SOURCE.split()) | st.sampled_from(INVENTED)
SENTENCES = st.lists(
    st.fixed_dictionaries(
        {"fact": IDS, "text": st.lists(WORDS, min_size=1, max_size=12).map(" ".join) | st.text(max_size=40)}
    ),
    min_size=5,
    max_size=30,
)


class Scripted:
    """A fake `Assistance` with scripted answers."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers

    def ask(self, _task: str, _material: str, form: type[Answer]) -> Answer:
        return form.model_validate(self.answers)


def test_invalid_id_names_no_fact():
    assert named(["F0", "F999", "f1", "F-1", "F1 ", "F1", "F\u0661"], FACTS) == [FACTS[0]]


@settings(deadline=None, max_examples=60)
@given(cv=st.lists(IDS), letter=st.lists(IDS), cv_words=SENTENCES, letter_words=SENTENCES)
def test_no_answer_adds_words_or_numbers_to_the_documents(cv, letter, cv_words, letter_words):
    choice = choose(POSTING, [], FACTS, PROFILE, Scripted({"cv": cv, "letter": letter}))
    documents = write_documents(CV, POSTING, choice, FACTS, PROFILE, Scripted({"cv": cv_words, "letter": letter_words}))
    numbers = set(re.findall(r"\d+", SOURCE))
    for text in (documents.cv, documents.letter):
        assert set(re.findall(r"\d+", text)) <= numbers
        assert [one for one in ("Umbrella", "PhD", "1987", "http://y") if one in text] == []
    roles = [line for line in SOURCE.split("\n") if line.startswith("### ")]
    assert [line for line in documents.cv.split("\n") if line.startswith("### ")] == roles
