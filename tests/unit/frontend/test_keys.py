from __future__ import annotations

import re

import pytest

from frontend.keys import anchor, launch_key


def test_the_key_is_the_same_for_all_who_see_the_same_and_another_after_the_run() -> None:
    assert launch_key("4711", "") == launch_key("4711", "")
    keys = {launch_key("4711", ""), launch_key("4711", "4711-a"), launch_key("4712", ""), launch_key("4711\0", "")}
    assert len(keys) == 4
    assert all(len(key) <= 255 for key in keys)


@pytest.mark.parametrize("job_id", ["4711", "abc-DEF_9"])
def test_a_plain_job_id_is_its_own_anchor(job_id: str) -> None:
    assert anchor(job_id) == job_id


@pytest.mark.parametrize("job_id", ["a b", "a.b", "#x", '"><script>', "", "ä", "x" * 100, "\ud800"])
def test_any_other_becomes_one_that_no_selector_trips_over(job_id: str) -> None:
    assert re.fullmatch("x-[0-9a-f]{16}", anchor(job_id))
