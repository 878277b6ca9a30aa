"""Admission, places in the queue, names, pipelines' command lines."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.batch import parse_batch
from launcher.domain.log_lines import Receipt
from launcher.domain.names import RUN_ID_MAX, hash_of, is_run_id, new_run_id
from launcher.domain.outcomes import completed, failure
from launcher.domain.pipelines import Pipeline
from launcher.domain.queue_places import OPERATOR_DOWN, PAUSED, Durations, QueuePlace, place_of
from launcher.domain.reasons import Reason
from launcher.domain.run_queue import RunQueue, queue_order
from launcher.domain.runs import Run

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


def run(name: str, priority: int = 0, microseconds: int = 0) -> Run:
    at = AT + timedelta(microseconds=microseconds)
    return Run(run_id=name, job_id="1", priority=priority, created_at=at, updated_at=at)


def took(seconds: float, pipeline: str = "default", number: int = 0) -> Run:
    """A run that completed after this many seconds."""
    queued = replace(run(f"took-{number}", microseconds=number), pipeline=pipeline)
    return queued.started(AT).finished(completed(), AT + timedelta(seconds=seconds), Receipt())


def place(
    name: str,
    runs: list[Run],
    *,
    remaining: Sequence[float] = (),
    typical: float | None = None,
    limit: int = 1,
    paused: bool = False,
    operator_down: bool = False,
) -> QueuePlace | None:
    """Return a run's place, given the active runs' remaining seconds and how long a run typically takes."""
    elapsed = [timedelta(seconds=(typical or 0.0) - seconds) for seconds in remaining]
    return place_of(
        name,
        RunQueue(runs),
        active=[run("active").started(AT - each) for each in elapsed],
        durations=Durations([took(typical)] if typical is not None else []),
        at=AT,
        limit=limit,
        paused=paused,
        operator_down=operator_down,
    )


each_run = st.builds(run, st.text("abc", min_size=1, max_size=4), st.integers(-2, 2), st.integers(0, 3))
waiting = st.lists(each_run, unique_by=lambda run: run.run_id, max_size=8)


@given(st.lists(each_run | st.text("abc", min_size=1, max_size=4), max_size=40))
def test_a_queue_has_the_order_of_a_sort_after_any_changes(changes: list[Run | str]) -> None:
    queue, kept = RunQueue(), dict[str, Run]()
    for change in changes:
        if isinstance(change, Run):
            queue.add(change)
            kept[change.run_id] = change
        else:
            assert queue.discard(change) == kept.pop(change, None)
    expected = sorted(kept.values(), key=queue_order)
    assert list(queue) == list(RunQueue(kept.values())) == expected
    assert [queue.position(each.run_id) for each in expected] == list(range(1, len(queue) + 1))
    assert all((name in queue, queue.get(name)) == (name in kept, kept.get(name)) for name in ("a", "b", "cc"))


@given(waiting, st.lists(each_run, max_size=8), st.sets(st.text("abc", min_size=1, max_size=4)))
def test_a_queue_that_changes_is_passed_through_in_order_and_each_run_once(
    runs: list[Run], added: list[Run], removed: set[str]
) -> None:
    queue = RunQueue(runs)
    seen: list[Run] = []
    for each in queue:
        seen.append(each)
        assert queue.get(each.run_id) is each
        for name in [name for name in removed if name in queue][:2]:
            queue.discard(name)
        if added:
            queue.add(added.pop())
    assert [queue_order(each) for each in seen] == sorted({queue_order(each) for each in seen})
    assert {each.run_id for each in runs} - removed <= {each.run_id for each in seen} | {each.run_id for each in queue}


@given(waiting, st.integers(1, 5))
def test_positions_count_from_one_and_etas_never_decrease(runs: list[Run], limit: int) -> None:
    places = [
        place(each.run_id, runs, remaining=[5.0] * limit, typical=10.0, limit=limit)
        for each in sorted(runs, key=queue_order)
    ]
    assert [found and found.position for found in places] == list(range(1, len(runs) + 1))
    etas = [found.eta_seconds for found in places if found and found.eta_seconds is not None]
    assert etas == sorted(etas)


@pytest.mark.parametrize(
    ("limit", "remaining", "typical", "position", "eta"),
    [
        (1, [4.0], 10.0, 1, 4.0),
        (1, [4.0], 10.0, 2, 14.0),
        (2, [4.0, 6.0], 10.0, 2, 6.0),
        (2, [4.0, 6.0], 10.0, 3, 14.0),
        (2, [4.0], 10.0, 1, 0.0),
        (1, [4.0], None, 1, None),
    ],
)
def test_the_eta_simulates_the_queue(
    limit: int, remaining: list[float], typical: float | None, position: int, eta: float | None
) -> None:
    runs = [run(str(n), microseconds=n) for n in range(5)]
    found = place(str(position - 1), runs, remaining=remaining, typical=typical, limit=limit)
    assert found is not None
    assert (found.position, found.eta_seconds) == (position, eta)


@given(st.lists(st.floats(0, 1000), max_size=6), st.floats(0.1, 100), st.integers(1, 5), st.integers(1, 300))
def test_the_eta_is_that_of_playing_the_queue_forward(
    remaining: list[float], typical: float, limit: int, position: int
) -> None:
    runs = [run(str(n), microseconds=n) for n in range(position)]
    found = place(str(position - 1), runs, remaining=remaining, typical=typical, limit=limit)
    slots = [*sorted(remaining)[:limit], *[0.0] * (limit - len(remaining))]
    heapq.heapify(slots)
    for _ in range(position):
        free_at = heapq.heappop(slots)
        heapq.heappush(slots, free_at + typical)
    assert found is not None
    assert found.eta_seconds == pytest.approx(free_at, abs=0.11)


def test_a_waiting_run_has_a_place_with_a_reason_and_others_have_none() -> None:
    runs = [run("a")]
    assert place("b", runs) is None
    paused = place("a", runs, typical=1.0, paused=True)
    assert paused is not None
    assert (paused.why, paused.eta_seconds) == (PAUSED, None)


@pytest.mark.parametrize("paused", [True, False])
def test_there_is_no_eta_while_the_operator_is_down(paused: bool) -> None:
    runs = [run("a"), run("b", microseconds=1)]
    found = place("b", runs, typical=1.0, paused=paused, operator_down=True)
    assert found is not None
    assert (found.position, found.eta_seconds) == (2, None)
    assert found.why == OPERATOR_DOWN


def test_one_hanging_run_does_not_change_the_typical_duration() -> None:
    assert Durations([took(10), took(11), took(9000)]).typical("default") == 11
    assert Durations().typical("default") is None


def test_only_the_latest_successful_runs_of_a_pipeline_count() -> None:
    failed = run("a").started(AT).finished(failure(Reason.PIPELINE_ERROR, exit_code=3), AT, Receipt())
    durations = Durations([took(float(number), number=number) for number in reversed(range(50))])
    durations.add(failed)
    durations.add(took(7.0, pipeline="other"))
    assert durations.typical("default") == 39.5  # of 30 to 49
    assert durations.typical("other") == 7.0


def test_the_remaining_time_depends_on_the_runs_own_pipeline() -> None:
    durations = Durations([took(10.0), took(60.0, pipeline="other")])
    started = run("a").started(AT - timedelta(seconds=4))
    assert durations.remaining(started, AT) == 6.0
    assert durations.remaining(replace(started, pipeline="other"), AT) == 56.0
    assert durations.remaining(replace(started, pipeline="unknown"), AT) == 0.0


@given(st.text(min_size=1, max_size=300))
def test_any_job_id_makes_a_valid_run_id(job_id: str) -> None:
    name = new_run_id(job_id)
    assert is_run_id(name)
    assert len(name) <= RUN_ID_MAX
    assert new_run_id(job_id) != name
    key = hash_of(job_id)
    assert new_run_id(job_id, key) == new_run_id(job_id, key)
    assert is_run_id(new_run_id(job_id, key))


@pytest.mark.parametrize("text", ["", "..", "a/b", "A", "-a", "a-", "a" * 64, "a\n", "a.b", "ä", "\0"])
def test_invalid_run_ids_are_recognized(text: str) -> None:
    assert not is_run_id(text)


@given(st.text("a0-A.", min_size=1, max_size=64))
def test_the_front_end_accepts_the_same_run_ids(text: str) -> None:
    assert (parse_batch(text) == [text]) is is_run_id(text)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (None, ["python", "scripts/run_pipeline.py", "--job-id", "{profile} 1"]),
        ("senior", ["python", "scripts/run_pipeline.py", "--job-id", "{profile} 1", "--profile", "senior"]),
    ],
)
def test_the_default_command_line(profile: str | None, words: list[str]) -> None:
    assert Pipeline().command_for("{profile} 1", profile) == words


def test_an_argument_with_the_profile_is_omitted_if_there_is_none() -> None:
    pipeline = Pipeline(command=["run", "--profile={profile}", "{job_id}", "{other}"])
    assert pipeline.command_for("1", None) == ["run", "1", "{other}"]
    assert pipeline.command_for("1", "p") == ["run", "--profile=p", "1", "{other}"]
