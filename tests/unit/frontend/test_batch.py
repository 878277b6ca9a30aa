from __future__ import annotations

import pytest

from frontend.batch import MAX_RUNS, NOT_FOUND, Batch, parse_batch


def test_url_value_round_trips() -> None:
    run_ids = [f"{n:02}-" + "x" * 60 for n in range(MAX_RUNS)]
    value = Batch(run_ids).url_value
    assert parse_batch(value) == run_ids
    assert len(value) < 8190 / 2


@pytest.mark.parametrize(
    ("text", "run_ids"),
    [
        ("", []),
        ("...", []),
        ("a-1.a-1.b-2", ["a-1", "b-2"]),
        ("A-1.../../health.<script>.a%20b.ä.\ud800.a-1\n.b-1." + "x" * 64, ["b-1"]),
        (".".join(map(str, range(1000))), [str(n) for n in range(MAX_RUNS)]),
    ],
    ids=["empty", "separators only", "duplicate", "hostile", "too many"],
)
def test_invalid_run_ids_are_ignored(text: str, run_ids: list[str]) -> None:
    assert parse_batch(text) == run_ids


def test_batch_is_done_when_all_runs_are_finished_or_not_found() -> None:
    unknown = Batch(["a", "b", "c"])
    assert (unknown.finished, unknown.done, unknown.counts) == (0, False, {})
    active = Batch(["a", "b", "c"], {"a": "running", "b": NOT_FOUND, "c": "completed"})
    assert (active.finished, active.done, active.counts) == (2, False, {"running": 1, NOT_FOUND: 1, "completed": 1})
    done = Batch(["a", "b", "c"], {"a": "failed", "b": NOT_FOUND, "c": "failed"})
    assert (done.finished, done.done, done.counts) == (3, True, {"failed": 2, NOT_FOUND: 1})
