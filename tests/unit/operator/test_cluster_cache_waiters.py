"""The cluster cache: which waiters a change wakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from launching.cached_objects import job, listing, pod, resync
from pipeline_operator.cluster_cache import ClusterCache

CHANGES: list[tuple[str, Callable[[ClusterCache], None]]] = [
    ("a newer Job", lambda cache: cache.observe_job(job(2))),
    ("the Job's deletion", lambda cache: cache.observe_job(job(2), deleted=True)),
    ("a pod", lambda cache: cache.observe_pod(pod(2))),
    ("a listing without it", lambda cache: resync(cache, listing(1), listing(1))),
    ("a notification", lambda cache: cache.notify("a")),
    ("its eviction", lambda cache: cache.evict("a")),
]
changes = pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in CHANGES])


def known() -> ClusterCache:
    cache = ClusterCache()
    cache.observe_job(job(1))
    cache.changed.clear()
    return cache


@changes
def test_a_waiter_is_woken_by(change: Callable[[ClusterCache], None]) -> None:
    async def scenario() -> None:
        cache = known()
        observed = cache.get("a")

        async def act() -> None:
            change(cache)

        async with asyncio.timeout(5):
            await asyncio.gather(*(cache.wait_for_change("a", observed, None) for _ in range(2)), act())

    asyncio.run(scenario())


@changes
def test_a_change_since_the_observation_ends_the_wait_at_once(change: Callable[[ClusterCache], None]) -> None:
    async def scenario() -> None:
        cache = known()
        observed = cache.get("a")
        change(cache)
        async with asyncio.timeout(5):
            await cache.wait_for_change("a", observed, None)

    asyncio.run(scenario())


def test_a_change_of_another_run_wakes_no_waiter() -> None:
    async def scenario() -> None:
        cache = known()
        waiting = asyncio.ensure_future(cache.wait_for_change("a", cache.get("a"), None))

        async def act() -> None:
            cache.observe_job(job(5, "other", name="b"))
            cache.observe_job(job(0))  # an older version is not a change either

        await asyncio.gather(act(), cache.wait_for_change("a", cache.get("a"), 0))
        assert not waiting.done()
        cache.notify("a")
        async with asyncio.timeout(5):
            await waiting

    asyncio.run(scenario())


def test_waiting_ends_after_its_timeout() -> None:
    async def scenario() -> None:
        cache = known()
        async with asyncio.timeout(5):
            await cache.wait_for_change("a", cache.get("a"), 0.01)

    asyncio.run(scenario())


def test_any_change_sets_the_changed_event() -> None:
    cache = known()
    cache.observe_job(job(0))
    assert not cache.changed.is_set()
    cache.observe_pod(pod(2))
    assert cache.changed.is_set()


def test_notify_changes_only_the_version() -> None:
    cache = known()
    before = cache.get("a")
    cache.notify("a")
    after = cache.get("a")
    assert (after.job, after.pod, after.job_deleted, after.pod_deleted) == (before.job, None, False, False)
    assert after.version > before.version
