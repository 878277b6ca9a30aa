"""Shares the cluster between test processes. A test marked `disruptive`, as in Kubernetes' own tests, has it alone."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from typing import IO

import pytest

from cluster.cluster import STATE, Cluster

_LOCK = STATE.with_name(f"{STATE.name}.tests")
_TURNSTILE = STATE.with_name(f"{STATE.name}.turnstile")


class Sharing:
    """A pytest plugin that holds a lock during each test: shared, or exclusive for disruptive tests.

    Consecutive disruptive tests keep it, because their fixtures may still hold the cluster in an unusual state.
    """

    def __init__(self) -> None:
        self._held: IO[str] | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        disruptive = _is_disruptive(item)
        if self._held is None:
            self._held = _take(fcntl.LOCK_EX if disruptive else fcntl.LOCK_SH)
            Cluster.shared = not disruptive
        try:
            return (yield)
        finally:
            if not (disruptive and nextitem and _is_disruptive(nextitem)):
                self._held.close()
                self._held = None


def _is_disruptive(item: pytest.Item) -> bool:
    return item.get_closest_marker("disruptive") is not None


def _take(mode: int) -> IO[str]:
    # Everyone passes the turnstile, where a disruptive test waits for the others, so that no new ones overtake it.
    with _TURNSTILE.open("a") as turnstile:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        lock = _LOCK.open("a")
        fcntl.flock(lock, mode)
    return lock
