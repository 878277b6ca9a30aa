from __future__ import annotations

import pytest

from frontend.batch import GONE, MOST, Batch, read_address


def test_an_address_names_the_runs_and_is_read_as_it_was_written() -> None:
    run_ids = [f"{n:02}-" + "x" * 60 for n in range(MOST)]
    address = Batch(run_ids).address
    assert read_address(address) == run_ids
    assert len(address) < 8190 / 2


@pytest.mark.parametrize(
    ("text", "run_ids"),
    [
        ("", []),
        ("...", []),
        ("a-1.a-1.b-2", ["a-1", "b-2"]),
        ("A-1.../../health.<script>.a%20b.ä.\ud800.a-1\n.b-1." + "x" * 64, ["b-1"]),
        (".".join(map(str, range(1000))), [str(n) for n in range(MOST)]),
    ],
    ids=["empty", "between nothing", "twice", "hostile", "too many"],
)
def test_what_names_no_run_is_left_out(text: str, run_ids: list[str]) -> None:
    assert read_address(text) == run_ids


def test_a_batch_is_over_when_all_its_runs_have_ended_or_are_no_longer_kept() -> None:
    unknown = Batch(["a", "b", "c"])
    assert (unknown.ended, unknown.over, unknown.counts) == (0, False, {})
    going = Batch(["a", "b", "c"], {"a": "running", "b": GONE, "c": "completed"})
    assert (going.ended, going.over, going.counts) == (2, False, {"running": 1, GONE: 1, "completed": 1})
    over = Batch(["a", "b", "c"], {"a": "failed", "b": GONE, "c": "failed"})
    assert (over.ended, over.over, over.counts) == (3, True, {"failed": 2, GONE: 1})
