"""What every `Attempts` does: memory, MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from frontend.attempts import ALL, OF_ALL, OF_VISITOR, Attempts, AttemptsInMemory, AttemptsInMongoDB, Limit, exceeded

LIMIT = Limit(3, 900)
START = 900.0 * 2_000_000  # a window's first second, in the future: no TTL index clears it meanwhile


class Time:
    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture(params=["memory", "mongodb"])
def instance(request: pytest.FixtureRequest, clock: Time) -> Iterator[Callable[[], Attempts]]:
    """A way to get what each instance of the front end has; in memory there is one instance."""
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


def test_instances_count_together_and_the_limit_is_exact(instance: Callable[[], Attempts]) -> None:
    first, second = instance(), instance()
    counted = []
    for each in (first, second, first, second, first):
        counted.append((each.spent("a", LIMIT), each.count("a", LIMIT)))
    assert counted == [(False, True)] * 3 + [(True, False)] * 2
    assert not second.spent("b", LIMIT) and second.count("b", LIMIT)


def test_the_next_window_begins_at_zero(instance: Callable[[], Attempts], clock: Time) -> None:
    attempts = instance()
    clock.now += LIMIT.seconds - 1
    assert [attempts.count("a", LIMIT) for _ in range(4)] == [True] * 3 + [False]
    clock.now += 1
    assert not attempts.spent("a", LIMIT) and attempts.count("a", LIMIT)


def test_what_is_forgotten_is_counted_from_zero_and_nothing_else_is(instance: Callable[[], Attempts]) -> None:
    attempts = instance()
    for who in ("a", "b"):
        assert [attempts.count(who, LIMIT) for _ in range(3)] == [True] * 3
    attempts.forget("a", LIMIT)
    attempts.forget("nobody", LIMIT)
    assert (attempts.spent("a", LIMIT), attempts.spent("b", LIMIT)) == (False, True)


def test_two_limits_of_one_name_are_counted_apart(instance: Callable[[], Attempts]) -> None:
    attempts = instance()
    other = Limit(1, 3600)
    assert attempts.count("a", other) and not attempts.count("a", other)
    assert attempts.count("a", LIMIT) and not attempts.spent("a", LIMIT)


def test_one_visitor_cannot_use_up_the_attempts_of_all(instance: Callable[[], Attempts]) -> None:
    attempts = instance()
    refused = [exceeded(attempts, "192.0.2.1", known=False) for _ in range(2 * OF_VISITOR.most)]
    assert refused == [None] * OF_VISITOR.most + [OF_VISITOR] * OF_VISITOR.most
    left = OF_ALL.most - OF_VISITOR.most
    assert [exceeded(attempts, f"visitor {n}", known=False) for n in range(left)] == [None] * left
    assert exceeded(attempts, "one more", known=False) == OF_ALL
    assert not attempts.spent("one more", Limit(1, OF_VISITOR.seconds)), "it is not even noted"
    assert exceeded(attempts, "browser x", known=True) is None
    assert attempts.spent(ALL, OF_ALL)
