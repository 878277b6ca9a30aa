from __future__ import annotations

import re

import pytest

from frontend.keys import anchor, bulk_items, launch_key
from frontend.last_run import LastRun
from frontend.row_state import MAX_ROWS, read_shown


def test_launch_key_depends_on_job_and_newest_run() -> None:
    assert launch_key("4711", "") == launch_key("4711", "")
    keys = {launch_key("4711", ""), launch_key("4711", "4711-a"), launch_key("4712", ""), launch_key("4711\0", "")}
    assert len(keys) == 4
    assert all(len(key) <= 255 for key in keys)


def test_bulk_items_are_unique_and_have_the_keys_of_their_rows() -> None:
    shown = {"a": LastRun("a-1", "failed"), "b b": LastRun(), "c": LastRun("c-1", "completed")}
    assert bulk_items(["b b", "a", "b b", "unseen"], shown) == [
        {"job_id": "b b", "idempotency_key": launch_key("b b", "")},
        {"job_id": "a", "idempotency_key": launch_key("a", "a-1")},
        "unseen",
    ]


def test_read_shown_parses_rows_up_to_the_limit() -> None:
    shown = read_shown(["new  4711", "failed a-1 a b", "hostile", "", "completed  odd"])
    assert shown == {"4711": LastRun(), "a b": LastRun("a-1", "failed"), "odd": LastRun()}
    assert len(read_shown(f"new  {n}" for n in range(10_000))) == MAX_ROWS


@pytest.mark.parametrize("job_id", ["4711", "abc-DEF_9"])
def test_plain_job_id_is_its_own_anchor(job_id: str) -> None:
    assert anchor(job_id) == job_id


@pytest.mark.parametrize("job_id", ["a b", "a.b", "#x", '"><script>', "", "ä", "x" * 100, "\ud800"])
def test_other_job_ids_become_anchors_that_are_valid_selectors(job_id: str) -> None:
    assert re.fullmatch("x-[0-9a-f]{16}", anchor(job_id))
