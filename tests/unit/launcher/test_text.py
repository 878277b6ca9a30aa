"""External text is cleaned in one place, and nothing that a run prints can break a stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.hostile import outputs
from launcher.domain.log_lines import LineKind, LogLine, progress_of
from launcher.domain.text import clean_json, clean_text, one_line, to_json
from launcher.logs.feed import line_event, partial_event, run_event

TEXTS = st.text() | st.text(st.characters(categories=["Cs"])) | st.sampled_from(["\ud83d\ude00", "\ud83d", "a\udcfcb"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


def strict(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    text.encode()
    assert "\n" not in text and "\r" not in text
    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Zażółć 👩‍👩‍👧 \0", "Zażółć 👩‍👩‍👧 \0"),
        ("\ud83d\ude00", "😀"),
        ("half \ud83d emoji", "half \N{REPLACEMENT CHARACTER} emoji"),
        ("\udcfc", "\N{REPLACEMENT CHARACTER}"),
        ("\ufeffbom", "\ufeffbom"),
    ],
)
def test_lone_surrogates_are_replaced_and_pairs_become_their_character(text: str, clean: str) -> None:
    assert clean_text(text) == clean


@given(TEXTS)
def test_clean_text_can_be_encoded_and_is_not_changed_again(text: str) -> None:
    clean = clean_text(text)
    clean.encode()
    assert clean_text(clean) == clean


@given(VALUES)
def test_any_value_becomes_json_that_a_browser_accepts(value: Any) -> None:
    assert strict(to_json(value)) == strict(to_json(clean_json(value)))


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: (value,), lambda value: {"\ud83d": value}])
def test_deeply_nested_values_are_truncated(wrap: Callable[[Any], Any]) -> None:
    value: Any = "\ud83d"
    for _ in range(10_000):
        value = wrap(value)
    strict(to_json(value))


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**64, 2.0**64),
        (-(10**400), None),
        pytest.param(10**5000, None, id="5000 digits"),
        (True, True),
        (float("nan"), None),
        (float("-inf"), None),
        ({"\ud83d": [float("inf")]}, {"\N{REPLACEMENT CHARACTER}": [None]}),
    ],
)
def test_numbers_outside_the_portable_range_are_converted(value: Any, clean: Any) -> None:
    assert clean_json(value) == clean
    assert type(clean_json(value)) is type(clean)
    strict(to_json({"label": "\ud83d", "more": value}))


@pytest.mark.parametrize("text", ["one\ntwo", "one\r\ntwo", "one\u2028two", "one\vtwo"])
def test_a_message_in_a_log_is_one_line(text: str) -> None:
    assert one_line(text) == "one two"


@given(outputs)
def test_each_printed_line_is_one_event(output: bytes) -> None:
    for number, data in enumerate(output.split(b"\n"), 1):
        event = line_event(LogLine(number, "2026-11-28T08:00:00.000000000Z", LineKind.LINE, data)).decode()
        assert event.endswith("\n\n") and event.count("\n\n") == 1 and "\r" not in event
        fields = dict(field.split(": ", 1) for field in event.strip("\n").split("\n") if ": " in field)
        assert fields["id"] == str(number)
        if "event" in fields:
            report = strict(fields["data"])
            assert report.keys() == {"step", "of", "label"}
            assert 0 <= report["step"] <= report["of"] < 2**53 and len(report["label"]) <= 200


@given(st.dictionaries(st.sampled_from(["status", "message", "job_id"]), VALUES))
def test_any_run_becomes_an_event(run: dict[str, Any]) -> None:
    strict(run_event("status", run).decode().split("data: ", 1)[1].rstrip("\n"))
    strict(partial_event(str(run)).decode().split("data: ", 1)[1].rstrip("\n"))


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (
            '{"step": 1, "of": 2, "label": "\\ud83d", "more": NaN}',
            {"step": 1, "of": 2, "label": "\N{REPLACEMENT CHARACTER}"},
        ),
        ('{"step": 1, "of": 2, "label": "x", "label": "y"}', {"step": 1, "of": 2, "label": "y"}),
        ('{"step": 1, "of": 9007199254740992, "label": "x"}', None),
        ('{"step": 1.0, "of": 2, "label": "x"}', None),
        ('{"step": 1, "of": 2, "label": null}', None),
        ('{"step": ' + "1" * 4000 + ', "of": 2, "label": ""}', None),
        ('{"step": 1, "of": 2, "label": "' + "y" * 300 + '"}', {"step": 1, "of": 2, "label": "y" * 199 + "…"}),
    ],
)
def test_a_progress_report_has_three_fields_or_is_an_ordinary_line(report: str, shown: dict[str, Any] | None) -> None:
    assert progress_of(b"::progress:: " + report.encode()) == shown
