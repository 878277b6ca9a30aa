"""Admission, places in the queue, names, pipelines' command lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain.admission import place_of, queue_order, to_release, typical_seconds
from launcher.domain.names import RUN_ID_MAX, hash_of, is_run_id, new_run_id
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


def run(name: str, priority: int = 0, microseconds: int = 0) -> Run:
    at = AT + timedelta(microseconds=microseconds)
    return Run(run_id=name, job_id="1", priority=priority, created_at=at, updated_at=at)


waiting = st.lists(
    st.builds(run, st.text("abc", min_size=1, max_size=4), st.integers(-2, 2), st.integers(0, 3)),
    unique_by=lambda run: run.run_id,
    max_size=8,
)


@given(waiting, st.integers(0, 6), st.integers(1, 5), st.booleans())
def test_never_over_the_limit_and_in_order(runs: list[Run], busy: int, limit: int, paused: bool) -> None:
    released = to_release(runs, busy=busy, limit=limit, paused=paused)
    free = 0 if paused else max(0, limit - busy)
    assert len(released) == min(free, len(runs))
    assert released == sorted(runs, key=queue_order)[: len(released)]


@given(waiting, st.integers(1, 5))
def test_places_count_from_one_and_etas_never_fall(runs: list[Run], limit: int) -> None:
    places = [
        place_of(each.run_id, runs, remaining=[5.0] * limit, typical=10.0, limit=limit, paused=False)
        for each in sorted(runs, key=queue_order)
    ]
    assert [place and place.position for place in places] == list(range(1, len(runs) + 1))
    etas = [place.eta_seconds for place in places if place and place.eta_seconds is not None]
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
def test_the_eta_plays_the_queue_forward(
    limit: int, remaining: list[float], typical: float | None, position: int, eta: float | None
) -> None:
    runs = [run(str(n), microseconds=n) for n in range(5)]
    place = place_of(str(position - 1), runs, remaining=remaining, typical=typical, limit=limit, paused=False)
    assert place is not None
    assert (place.position, place.eta_seconds) == (position, eta)


def test_a_place_says_why_and_who_does_not_wait_has_none() -> None:
    runs = [run("a")]
    assert place_of("b", runs, remaining=[], typical=None, limit=1, paused=False) is None
    paused = place_of("a", runs, remaining=[], typical=1.0, limit=1, paused=True)
    assert paused is not None
    assert (paused.why, paused.eta_seconds) == ("The queue is paused.", None)


@pytest.mark.parametrize("paused", [True, False])
def test_while_the_operator_is_away_nobody_is_told_a_time(paused: bool) -> None:
    runs = [run("a"), run("b", microseconds=1)]
    place = place_of("b", runs, remaining=[], typical=1.0, limit=1, paused=paused, operator_away=True)
    assert place is not None
    assert (place.position, place.eta_seconds) == (2, None)
    assert "operator is away" in place.why and "until it is back" in place.why


def test_one_hanging_run_does_not_move_the_typical_one() -> None:
    assert typical_seconds([10, 11, 9000]) == 11
    assert typical_seconds([]) is None


@given(st.text(min_size=1, max_size=300))
def test_any_job_id_makes_a_name_that_is_safe_everywhere(job_id: str) -> None:
    name = new_run_id(job_id)
    assert is_run_id(name)
    assert len(name) <= RUN_ID_MAX
    assert new_run_id(job_id) != name
    key = hash_of(job_id)
    assert new_run_id(job_id, key) == new_run_id(job_id, key)
    assert is_run_id(new_run_id(job_id, key))


@pytest.mark.parametrize("text", ["", "..", "a/b", "A", "-a", "a-", "a" * 64, "a\n", "a.b", "ä", "\0"])
def test_what_is_no_name_is_known(text: str) -> None:
    assert not is_run_id(text)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (None, ["python", "scripts/run_pipeline.py", "--job-id", "{profile} 1"]),
        ("senior", ["python", "scripts/run_pipeline.py", "--job-id", "{profile} 1", "--profile", "senior"]),
    ],
)
def test_the_seeds_command_line(profile: str | None, words: list[str]) -> None:
    assert Pipeline().command_for("{profile} 1", profile) == words


def test_a_profile_within_a_word_leaves_with_it() -> None:
    pipeline = Pipeline(command=["run", "--profile={profile}", "{job_id}", "{other}"])
    assert pipeline.command_for("1", None) == ["run", "1", "{other}"]
    assert pipeline.command_for("1", "p") == ["run", "--profile=p", "1", "{other}"]
