from __future__ import annotations

import re

import pytest

from frontend.keys import anchor, keyed, launch_key
from frontend.last_run import LastRun
from frontend.row_state import MOST, read_shown


def test_the_key_is_the_same_for_all_who_see_the_same_and_another_after_the_run() -> None:
    assert launch_key("4711", "") == launch_key("4711", "")
    keys = {launch_key("4711", ""), launch_key("4711", "4711-a"), launch_key("4712", ""), launch_key("4711\0", "")}
    assert len(keys) == 4
    assert all(len(key) <= 255 for key in keys)


def test_what_is_selected_has_the_key_of_its_own_button_where_it_is_shown_and_is_once() -> None:
    shown = {"a": LastRun("a-1", "failed"), "b b": LastRun(), "c": LastRun("c-1", "completed")}
    assert keyed(["b b", "a", "b b", "unseen"], shown) == [
        {"job_id": "b b", "idempotency_key": launch_key("b b", "")},
        {"job_id": "a", "idempotency_key": launch_key("a", "a-1")},
        "unseen",
    ]


def test_what_a_page_shows_is_read_as_it_was_written_and_no_more_than_a_page_has() -> None:
    shown = read_shown(["new  4711", "failed a-1 a b", "hostile", "", "completed  odd"])
    assert shown == {"4711": LastRun(), "a b": LastRun("a-1", "failed"), "odd": LastRun()}
    assert len(read_shown(f"new  {n}" for n in range(10_000))) == MOST


@pytest.mark.parametrize("job_id", ["4711", "abc-DEF_9"])
def test_a_plain_job_id_is_its_own_anchor(job_id: str) -> None:
    assert anchor(job_id) == job_id


@pytest.mark.parametrize("job_id", ["a b", "a.b", "#x", '"><script>', "", "ä", "x" * 100, "\ud800"])
def test_any_other_becomes_one_that_no_selector_trips_over(job_id: str) -> None:
    assert re.fullmatch("x-[0-9a-f]{16}", anchor(job_id))
