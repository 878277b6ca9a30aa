"""What every `Attempts` guarantees, in memory and in MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from frontend.sign_in_attempts import (
    ALL,
    OF_ALL,
    OF_VISITOR,
    Attempts,
    AttemptsInMemory,
    AttemptsInMongoDB,
    Limit,
    exceeded,
)

LIMIT = Limit(3, 900)
START = 900.0 * 2_000_000  # the first second of a window, in the future so that no TTL index deletes it meanwhile


class Time:
    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture(params=["memory", "mongodb"])
def instance(request: pytest.FixtureRequest, clock: Time) -> Iterator[Callable[[], Attempts]]:
    """A function that returns the `Attempts` of another front-end instance; in memory there is only one."""
    if request.param == "memory":
        only = AttemptsInMemory(clock)
        yield lambda: only
        return
    uri = request.getfixturevalue("mongodb_uri")
    opened: list[AttemptsInMongoDB] = []

    def another() -> Attempts:
        opened.append(AttemptsInMongoDB(uri, clock))
        return opened[-1]

    yield another
    for each in opened:
        each.close()


def test_instances_share_one_exact_count(instance: Callable[[], Attempts]) -> None:
    first, second = instance(), instance()
    counted = []
    for each in (first, second, first, second, first):
        counted.append((each.spent("a", LIMIT), each.count("a", LIMIT)))
    assert counted == [(False, True)] * 3 + [(True, False)] * 2
    assert not second.spent("b", LIMIT) and second.count("b", LIMIT)


def test_the_next_window_starts_at_zero(instance: Callable[[], Attempts], clock: Time) -> None:
    attempts = instance()
    clock.now += LIMIT.seconds - 1
    assert [attempts.count("a", LIMIT) for _ in range(4)] == [True] * 3 + [False]
    clock.now += 1
    assert not attempts.spent("a", LIMIT) and attempts.count("a", LIMIT)


def test_forgetting_a_visitor_resets_only_its_own_count(instance: Callable[[], Attempts]) -> None:
    attempts = instance()
    for who in ("a", "b"):
        assert [attempts.count(who, LIMIT) for _ in range(3)] == [True] * 3
    attempts.forget("a", LIMIT)
    attempts.forget("nobody", LIMIT)
    assert (attempts.spent("a", LIMIT), attempts.spent("b", LIMIT)) == (False, True)


def test_two_limits_on_one_name_are_counted_separately(instance: Callable[[], Attempts]) -> None:
    attempts = instance()
    other = Limit(1, 3600)
    assert attempts.count("a", other) and not attempts.count("a", other)
    assert attempts.count("a", LIMIT) and not attempts.spent("a", LIMIT)


def test_one_visitor_cannot_use_up_everyones_attempts(instance: Callable[[], Attempts]) -> None:
    attempts = instance()
    refused = [exceeded(attempts, "192.0.2.1", known=False) for _ in range(2 * OF_VISITOR.most)]
    assert refused == [None] * OF_VISITOR.most + [OF_VISITOR] * OF_VISITOR.most
    left = OF_ALL.most - OF_VISITOR.most
    assert [exceeded(attempts, f"visitor {n}", known=False) for n in range(left)] == [None] * left
    assert exceeded(attempts, "one more", known=False) == OF_ALL
    assert not attempts.spent("one more", Limit(1, OF_VISITOR.seconds)), "a refused attempt is not counted"
    assert exceeded(attempts, "browser x", known=True) is None
    assert attempts.spent(ALL, OF_ALL)
