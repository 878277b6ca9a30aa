"""The cluster cache: which version of Jobs and pods wins, and which waiters a change wakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cluster.port import Listing
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun

Manifest = dict[str, Any]


def job(
    version: int,
    uid: str = "job",
    *,
    suspend: bool = True,
    name: str = "a",
    phase: str | None = None,
    **status: Any,
) -> Manifest:
    phase = phase or ("queued" if suspend else "released")
    return {
        "metadata": {
            "name": name,
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {"slipway.dev/phase": phase},
            "annotations": {"slipway.dev/phase-of": uid},
            "managedFields": [{"manager": "x"}],
        },
        "spec": {"suspend": suspend},
        "status": status,
    }


def pod(
    version: int,
    uid: str = "pod",
    phase: str = "Running",
    *,
    second: int = 0,
    of: str | None = "a",
    owner: str | None = "job",
) -> Manifest:
    """A pod; `of` is the name of its Job, `owner` the uid."""
    labels = {"slipway.dev/run": "true"}
    if owner:
        labels["batch.kubernetes.io/controller-uid"] = owner
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": of, "uid": owner, "controller": True}
    return {
        "metadata": {
            "name": f"a-{uid}",
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": f"2026-11-24T08:00:{second:02d}Z",
            "labels": {**labels, "batch.kubernetes.io/job-name": of} if of else labels,
            "ownerReferences": [reference] if owner else [],
        },
        "spec": {"containers": [{"name": "pipeline", "image": "image"}]},
        "status": {"phase": phase},
    }


def switch(version: int, data: dict[str, str] | None) -> Manifest:
    """The queue's switch."""
    return {"metadata": {"name": "slipway-queue", "resourceVersion": str(version)}, "data": data}


def listing(version: int, *items: Manifest) -> Listing:
    """A listing of the cluster at a version."""
    return Listing(list(items), version)


def resync(cache: ClusterCache, jobs: Listing, pods: Listing) -> None:
    """Update the cache from complete lists."""
    for each in jobs.items:
        cache.observe_job(each)
    for each in pods.items:
        cache.observe_pod(each)
    uids = {each["metadata"]["uid"] for each in (*jobs.items, *pods.items)}
    cache.mark_missing(uids, jobs_version=jobs.version, pods_version=pods.version)


def uid_of(manifest: Any) -> Any:
    return manifest and manifest["metadata"]["uid"]


def version_of(manifest: Any) -> Any:
    return manifest and manifest["metadata"]["resourceVersion"]


@pytest.mark.parametrize("versions", [["5", "9"], ["9", "5"], ["9", "10"], ["10", "9"]])
def test_the_newest_version_wins_in_any_order_of_events(versions: list[str]) -> None:
    cache = ClusterCache()
    for version in versions:
        cache.observe_job(job(int(version)))
        cache.observe_pod(pod(int(version)))
    latest = max(versions, key=int)
    assert version_of(cache.get("a").job) == version_of(cache.get("a").pod) == latest


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, unique_by=lambda event: event[0]))
def test_events_in_any_order_leave_the_newest_state(events: list[tuple[int, bool]]) -> None:
    cache = ClusterCache()
    for version, deleted in events:
        cache.observe_job(job(version), deleted=deleted)
        cache.observe_pod(pod(version), deleted=deleted)
    newest, deleted = max(events)
    observed = cache.get("a")
    assert (
        (version_of(observed.job), observed.job_deleted)
        == (version_of(observed.pod), observed.pod_deleted)
        == (str(newest), deleted)
    )


def test_a_deleted_object_is_kept_as_last_observed() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1))
    cache.observe_pod(pod(2))
    cache.observe_pod(pod(3, phase="Failed"), deleted=True)
    cache.observe_job(job(4), deleted=True)
    observed = cache.get("a")
    assert observed.job_deleted and observed.pod_deleted
    assert observed.pod is not None
    assert observed.pod["status"]["phase"] == "Failed"


def test_an_event_from_before_the_deletion_restores_nothing() -> None:
    cache = ClusterCache()
    cache.observe_job(job(4), deleted=True)
    cache.observe_pod(pod(5), deleted=True)
    cache.observe_job(job(3))
    cache.observe_pod(pod(4))
    assert cache.get("a").job_deleted
    assert cache.get("a").pod_deleted


def test_a_repeated_version_is_not_a_change() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1))
    cache.observe_pod(pod(2))
    observed = cache.get("a")
    cache.changed.clear()
    cache.observe_job(job(1))
    cache.observe_pod(pod(2))
    resync(cache, listing(9, job(1)), listing(9, pod(2)))
    assert cache.get("a") == observed
    assert not cache.changed.is_set()


def test_a_deletion_with_the_same_version_is_a_change_once() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1))
    cache.observe_pod(pod(2))
    cache.observe_pod(pod(2), deleted=True)
    cache.observe_job(job(1), deleted=True)
    observed = cache.get("a")
    assert observed.job_deleted and observed.pod_deleted
    cache.observe_job(job(1), deleted=True)
    cache.observe_pod(pod(2), deleted=True)
    cache.observe_job(job(1))
    cache.observe_pod(pod(2))
    assert cache.get("a") == observed


def test_a_replaced_job_starts_without_the_old_state() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1, "first"))
    cache.observe_pod(pod(2, owner="first"))
    cache.observe_job(job(3, "first"), deleted=True)
    cache.observe_job(job(7, "second"))
    observed = cache.get("a")
    assert uid_of(observed.job) == "second"
    assert not observed.job_deleted
    assert observed.pod is None
    cache.observe_job(job(5, "first"), deleted=True)
    assert cache.get("a") == observed


def test_a_replaced_job_does_not_have_the_old_jobs_pod() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1, "first"))
    cache.observe_pod(pod(2, owner="first"))
    cache.observe_pod(pod(3, phase="Failed", owner="first"), deleted=True)
    cache.observe_job(job(7, "second"))
    assert cache.get("a").pod is None
    assert not cache.get("a").pod_deleted


def test_an_old_pod_is_not_assigned_to_the_new_job() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1, "first"))
    cache.observe_pod(pod(2, owner="first"))
    cache.observe_job(job(7, "second"))
    observed = cache.get("a")
    cache.observe_pod(pod(8, phase="Failed", owner="first"))
    cache.observe_pod(pod(9, phase="Failed", owner="first"), deleted=True)
    resync(cache, listing(9, job(7, "second")), listing(9, pod(8, phase="Failed", owner="first")))
    assert cache.get("a") == observed
    cache.observe_pod(pod(10, "new", "Pending", owner="second"))
    assert uid_of(cache.get("a").pod) == "new"


@pytest.mark.parametrize("owner", [None, "other"])
def test_a_pod_with_the_jobs_name_but_another_uid_is_ignored(owner: str | None) -> None:
    cache = ClusterCache()
    cache.observe_job(job(1))
    cache.observe_pod(pod(2, owner=owner))
    assert cache.get("a").pod is None


def test_a_pod_observed_before_its_job_is_kept_if_the_uid_matches() -> None:
    for owner, expected in [("job", "pod"), ("first", None)]:
        cache = ClusterCache()
        cache.observe_pod(pod(2, owner=owner))
        cache.observe_job(job(1))
        assert uid_of(cache.get("a").pod) == expected


def test_the_youngest_of_several_pods_is_used() -> None:
    cache = ClusterCache()
    cache.observe_pod(pod(5, "old", second=1))
    cache.observe_pod(pod(6, "young", second=2))
    cache.observe_pod(pod(7, "old", "Failed", second=1))
    cache.observe_pod(pod(8, "old", "Failed", second=1), deleted=True)
    observed = cache.get("a")
    assert observed.pod is not None
    assert observed.pod["metadata"]["uid"] == "young"
    assert not observed.pod_deleted


def test_a_pod_without_a_job_is_ignored() -> None:
    cache = ClusterCache()
    cache.observe_pod(pod(5, of=None))
    assert list(cache.items()) == []


def test_a_listing_marks_missing_objects_as_deleted_and_adds_new_ones() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1))
    cache.observe_pod(pod(2))
    cache.observe_job(job(3, "other", name="b"))
    resync(cache, listing(4, job(3, "other", name="b"), job(4, "new", name="c")), listing(4, pod(2)))
    assert cache.get("a").job_deleted
    assert not cache.get("a").pod_deleted
    assert not cache.get("b").job_deleted
    assert version_of(cache.get("c").job) == "4"
    resync(cache, listing(5), listing(5))
    assert cache.get("a").pod_deleted
    assert all(observed.job_deleted for _, observed in cache.items())


@pytest.mark.parametrize(("version", "deleted"), [(8, False), (9, True), (10, True)])
def test_an_object_newer_than_the_listing_is_not_deleted(version: int, deleted: bool) -> None:
    for jobs_version, pods_version in [(version, 20), (20, version)]:
        cache = ClusterCache()
        cache.observe_job(job(9))
        cache.observe_pod(pod(9))
        resync(cache, listing(jobs_version), listing(pods_version))
        observed = cache.get("a")
        assert observed.job_deleted is (deleted or jobs_version == 20)
        assert observed.pod_deleted is (deleted or pods_version == 20)


def test_a_listing_from_before_the_deletion_restores_nothing() -> None:
    cache = ClusterCache()
    cache.observe_job(job(4), deleted=True)
    cache.observe_pod(pod(5), deleted=True)
    observed = cache.get("a")
    resync(cache, listing(4, job(3)), listing(4, pod(4)))
    resync(cache, listing(4, job(4)), listing(5, pod(5)))
    assert cache.get("a") == observed


def test_a_listing_without_a_run_wakes_its_waiter_once() -> None:
    cache = ClusterCache()
    cache.observe_job(job(1))
    resync(cache, listing(2), listing(2))
    observed = cache.get("a")
    resync(cache, listing(3), listing(3))
    assert cache.get("a") == observed


RELEASED: Manifest = {"suspend": False}
FAILED: Manifest = {"conditions": [{"type": "Failed", "status": "True"}]}


@pytest.mark.parametrize(
    ("observed", "busy"),
    [
        pytest.param(ObservedRun(), False, id="nothing known"),
        pytest.param(ObservedRun(job=job(1)), False, id="queued"),
        pytest.param(ObservedRun(job=job(1, **RELEASED)), True, id="released, no pod yet"),
        pytest.param(ObservedRun(job=job(1, **RELEASED, **FAILED)), False, id="failed without a pod"),
        pytest.param(ObservedRun(job=job(1, **RELEASED), job_deleted=True), False, id="deleted without a pod"),
        pytest.param(ObservedRun(job=job(1, **RELEASED), pod=pod(2, phase="Pending")), True, id="pod pending"),
        pytest.param(ObservedRun(job=job(1, **RELEASED), pod=pod(2)), True, id="pod running"),
        pytest.param(ObservedRun(job=job(1, **RELEASED), pod=pod(2, phase="Succeeded")), False, id="pod finished"),
        pytest.param(ObservedRun(job=job(1, **RELEASED), pod=pod(2), pod_deleted=True), False, id="pod deleted"),
        pytest.param(
            ObservedRun(job=job(1, **RELEASED), job_deleted=True, pod=pod(2)), True, id="Job deleted, pod ending"
        ),
        pytest.param(ObservedRun(job=job(1, phase="released"), pod=pod(2)), True, id="suspended again, pod ending"),
        pytest.param(ObservedRun(job=job(1, suspend=False, phase="queued"), pod=pod(2)), False, id="rejected"),
        pytest.param(ObservedRun(pod=pod(2)), True, id="pod observed before its Job"),
    ],
)
def test_a_run_holds_a_slot_from_its_release_until_it_has_stopped(observed: ObservedRun, busy: bool) -> None:
    assert observed.holds_slot is busy


@pytest.mark.parametrize(
    ("data", "deleted", "paused"),
    [
        ({"paused": "true"}, False, True),
        ({"paused": "false"}, False, False),
        ({"paused": "yes"}, False, False),
        ({}, False, False),
        (None, False, False),
        ({"paused": "true"}, True, False),
    ],
)
def test_only_the_value_true_pauses_the_queue(data: dict[str, str] | None, deleted: bool, paused: bool) -> None:
    cache = ClusterCache()
    cache.observe_queue_config(switch(1, data), deleted=deleted)
    assert cache.paused is paused
    assert cache.changed.is_set()


def test_the_newest_version_of_the_queue_config_wins_in_any_order() -> None:
    cache = ClusterCache()
    cache.observe_queue_config(switch(10, {"paused": "true"}))
    cache.changed.clear()
    cache.observe_queue_config(switch(9, {"paused": "false"}))
    assert cache.paused
    assert not cache.changed.is_set()
    cache.observe_queue_config(switch(11, {"paused": "false"}))
    assert not cache.paused


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
