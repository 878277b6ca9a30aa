"""No sentence passes that claims more than its fact."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline_runner.tracing import new_words, objection, remove_untraceable

FACT = "Cut the time from merge to production from 3 hours to 11 minutes with GitHub Actions and Argo CD."
SETTING = "Senior Platform Engineer, Nordlicht Logistik GmbH, Hamburg"
FACTS = [
    FACT,
    "Wrote a Kubernetes operator in Python that starts 2,000 batch jobs a day and retries none of them blindly.",
    "Reduced the yearly bill for servers by 31 % by measuring first and resizing after.",
    "M.Sc. Computer Science, University of Kiel, 2012 – 2014",
    "開発チームでPythonを使用",
]


@pytest.mark.parametrize(
    "sentence",
    [
        FACT,
        "I cut the time from merge to production from 3 hours to 11 minutes.",
        "With GitHub Actions and Argo CD, I have cut the time to production from 3 hours to 11 minutes.",
        "As Senior Platform Engineer at Nordlicht Logistik GmbH, I cut the time from merge to production.",
        "GitHub Actions: the time to production, cut.",
    ],
)
def test_facts_own_words_may_be_shortened_and_reordered(sentence):
    assert objection(sentence, FACT, setting=SETTING) == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "I cut the time from merge to production at Google.",
        "I cut the time from merge to production with GitLab.",
        "I cut the time by 87 %.",
        "I cut the time since 1998.",
        "I cut the time from 11 hours to 3 minutes.",
        "I cut the time from 3 minutes to 11 hours.",
        "I cut the time from 3 hours to 11 minutes to 3 hours.",
        "I cut 3 Argo from 11 merge.",
        "as a doctor of physics i cut the time",
        "I single-handedly cut the time from merge to production.",
        "I always cut the time.",
        "I cut twelve hours.",
        "I cut the time, P\u200bh\u200bD.",
        "I cut the time \u2264 3 hours.",
        "I cut the \u0442ime.",  # a Cyrillic letter
        "I cut the time from 3\u00b2 hours.",
        "# I cut the time",
        "- I cut the time",
        "[GitHub Actions](https://evil.example)",
        "GitHub Actions\n\nDoctor",
        "GitHub Actions\u2028Argo CD",
        "GitHub Actions <b>",
        "",
        " ",
        "GitHub " * 200,
        "In 2021 I cut the time at Nordlicht.",
    ],
)
def test_invented_claims_are_rejected(sentence):
    assert objection(sentence, FACT, setting=SETTING + ", March 2021")


def test_negation_must_be_kept():
    assert "leaves out 'none'" in objection("Wrote a Kubernetes operator that retries blindly.", FACTS[1])
    assert objection("Wrote a Kubernetes operator that retries none blindly.", FACTS[1]) == ""


def test_qualification_must_be_kept_and_number_words_count():
    fact = "Helped to build a tool that saved four people two days each, used by about 300 people."
    assert "leaves out 'help" in objection("Build a tool.", fact)
    assert "leaves out 'about'" in objection("Helped to build a tool, used by 300 people.", fact)
    assert objection("Helped to build a tool that saved two people four days, used by about 300 people.", fact)
    assert objection("Helped to build a tool used by about 300 people.", fact) == ""


def test_setting_contributes_words_but_no_numbers():
    assert objection("At Umbrella 7 I grew roses.", "Grew roses.", setting="Umbrella 7")
    assert objection("At Umbrella I grew roses.", "Grew roses.", setting="Umbrella 7") == ""


def test_facts_own_words_are_accepted():
    assert [objection(fact, fact) for fact in FACTS] == [""] * len(FACTS)


INVENTION = st.sampled_from(
    ["Umbrella", "PhD", "Dr.", "1987", "87 %", "87", "CISSP", "Rust", "twelve", "ten-fold", "May 2019", "C++", "x10"]
) | st.text(st.characters(categories=["L", "N"]), min_size=12, max_size=20)


@given(
    fact=st.sampled_from(FACTS),
    place=st.integers(0, 30),
    invention=INVENTION,
    glue=st.sampled_from([" ", ", ", " at ", " in ", " (", ' "', " - "]),
)
@example(fact=FACTS[2], place=30, invention="87 %", glue=" ")
def test_one_invented_word_rejects_a_sentence(fact, place, invention, glue):
    parts = fact.split(" ")
    place = min(place, len(parts))
    sentence = " ".join([*parts[:place], f"{glue.strip()} {invention}".strip(), *parts[place:]])
    assert objection(sentence, fact)


@given(said=st.text(max_size=80), fact=st.sampled_from(FACTS))
def test_any_text_can_be_checked(said, fact):
    if not objection(said, fact):
        assert new_words(said, [fact]) == []


def test_untraceable_lines_are_removed_from_a_document():
    document, removed = remove_untraceable("# Ada\n\n- grew roses\n- PhD, 1987\n", ["Ada", "Grew roses."])
    assert document == "# Ada\n\n- grew roses\n"
    assert [(one.sentence, one.why) for one in removed] == [
        ("- PhD, 1987", "the master CV does not say 'phd', '1987'"),
    ]
