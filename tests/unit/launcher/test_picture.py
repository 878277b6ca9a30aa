"""The picture: what of Jobs and pods counts as the latest, and who is woken when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cluster.client import Listing
from launcher.controller.picture import Picture, Sight

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


def listed(version: int, *items: Manifest) -> Listing:
    """What is there at a version of the cluster."""
    return Listing(list(items), version)


def uid_of(manifest: Any) -> Any:
    return manifest and manifest["metadata"]["uid"]


def version_of(manifest: Any) -> Any:
    return manifest and manifest["metadata"]["resourceVersion"]


@pytest.mark.parametrize("versions", [["5", "9"], ["9", "5"], ["9", "10"], ["10", "9"]])
def test_the_latest_version_counts_in_whatever_order_they_come(versions: list[str]) -> None:
    picture = Picture()
    for version in versions:
        picture.see_job(job(int(version)))
        picture.see_pod(pod(int(version)))
    latest = max(versions, key=int)
    assert version_of(picture.sight("a").job) == version_of(picture.sight("a").pod) == latest


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, unique_by=lambda event: event[0]))
def test_events_in_any_order_leave_what_the_newest_says(events: list[tuple[int, bool]]) -> None:
    picture = Picture()
    for version, gone in events:
        picture.see_job(job(version), gone=gone)
        picture.see_pod(pod(version), gone=gone)
    newest, gone = max(events)
    sight = picture.sight("a")
    assert (version_of(sight.job), sight.job_gone) == (version_of(sight.pod), sight.pod_gone) == (str(newest), gone)


def test_what_is_deleted_is_kept_as_it_was_last_seen() -> None:
    picture = Picture()
    picture.see_job(job(1))
    picture.see_pod(pod(2))
    picture.see_pod(pod(3, phase="Failed"), gone=True)
    picture.see_job(job(4), gone=True)
    sight = picture.sight("a")
    assert sight.job_gone and sight.pod_gone
    assert sight.pod is not None
    assert sight.pod["status"]["phase"] == "Failed"


def test_an_event_from_before_the_deletion_brings_nothing_back() -> None:
    picture = Picture()
    picture.see_job(job(4), gone=True)
    picture.see_pod(pod(5), gone=True)
    picture.see_job(job(3))
    picture.see_pod(pod(4))
    assert picture.sight("a").job_gone
    assert picture.sight("a").pod_gone


def test_the_same_version_again_is_no_news() -> None:
    picture = Picture()
    picture.see_job(job(1))
    picture.see_pod(pod(2))
    seen = picture.sight("a")
    picture.changed.clear()
    picture.see_job(job(1))
    picture.see_pod(pod(2))
    picture.see_all(listed(9, job(1)), listed(9, pod(2)))
    assert picture.sight("a") == seen
    assert not picture.changed.is_set()


def test_a_deletion_without_a_version_of_its_own_is_news_once() -> None:
    picture = Picture()
    picture.see_job(job(1))
    picture.see_pod(pod(2))
    picture.see_pod(pod(2), gone=True)
    picture.see_job(job(1), gone=True)
    seen = picture.sight("a")
    assert seen.job_gone and seen.pod_gone
    picture.see_job(job(1), gone=True)
    picture.see_pod(pod(2), gone=True)
    picture.see_job(job(1))
    picture.see_pod(pod(2))
    assert picture.sight("a") == seen


def test_a_job_made_again_under_its_name_begins_anew() -> None:
    picture = Picture()
    picture.see_job(job(1, "first"))
    picture.see_pod(pod(2, owner="first"))
    picture.see_job(job(3, "first"), gone=True)
    picture.see_job(job(7, "second"))
    sight = picture.sight("a")
    assert uid_of(sight.job) == "second"
    assert not sight.job_gone
    assert sight.pod is None
    picture.see_job(job(5, "first"), gone=True)
    assert picture.sight("a") == sight


def test_a_job_made_again_does_not_have_its_forerunners_pod_nor_that_pods_end() -> None:
    picture = Picture()
    picture.see_job(job(1, "first"))
    picture.see_pod(pod(2, owner="first"))
    picture.see_pod(pod(3, phase="Failed", owner="first"), gone=True)
    picture.see_job(job(7, "second"))
    assert picture.sight("a").pod is None
    assert not picture.sight("a").pod_gone


def test_an_old_pod_does_not_go_to_the_new_job() -> None:
    picture = Picture()
    picture.see_job(job(1, "first"))
    picture.see_pod(pod(2, owner="first"))
    picture.see_job(job(7, "second"))
    sight = picture.sight("a")
    picture.see_pod(pod(8, phase="Failed", owner="first"))
    picture.see_pod(pod(9, phase="Failed", owner="first"), gone=True)
    picture.see_all(listed(9, job(7, "second")), listed(9, pod(8, phase="Failed", owner="first")))
    assert picture.sight("a") == sight
    picture.see_pod(pod(10, "new", "Pending", owner="second"))
    assert uid_of(picture.sight("a").pod) == "new"


@pytest.mark.parametrize("owner", [None, "somebody"])
def test_a_pod_that_only_bears_the_jobs_name_is_not_its_pod(owner: str | None) -> None:
    picture = Picture()
    picture.see_job(job(1))
    picture.see_pod(pod(2, owner=owner))
    assert picture.sight("a").pod is None


def test_a_pod_seen_before_its_job_stays_where_the_job_is_its_own() -> None:
    for owner, kept in [("job", "pod"), ("first", None)]:
        picture = Picture()
        picture.see_pod(pod(2, owner=owner))
        picture.see_job(job(1))
        assert uid_of(picture.sight("a").pod) == kept


def test_of_several_pods_the_youngest_counts() -> None:
    picture = Picture()
    picture.see_pod(pod(5, "old", second=1))
    picture.see_pod(pod(6, "young", second=2))
    picture.see_pod(pod(7, "old", "Failed", second=1))
    picture.see_pod(pod(8, "old", "Failed", second=1), gone=True)
    sight = picture.sight("a")
    assert sight.pod is not None
    assert sight.pod["metadata"]["uid"] == "young"
    assert not sight.pod_gone


def test_a_pod_of_no_job_is_nobodys() -> None:
    picture = Picture()
    picture.see_pod(pod(5, of=None))
    assert list(picture.sights()) == []


def test_what_only_kubernetes_needs_is_not_kept() -> None:
    picture = Picture()
    seen = job(1)
    picture.see_job(seen)
    kept = picture.sight("a").job
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in seen["metadata"]


def test_a_new_listing_marks_what_is_missing_as_gone_and_takes_what_is_new() -> None:
    picture = Picture()
    picture.see_job(job(1))
    picture.see_pod(pod(2))
    picture.see_job(job(3, "other", name="b"))
    picture.see_all(listed(4, job(3, "other", name="b"), job(4, "new", name="c")), listed(4, pod(2)))
    assert picture.sight("a").job_gone
    assert not picture.sight("a").pod_gone
    assert not picture.sight("b").job_gone
    assert version_of(picture.sight("c").job) == "4"
    picture.see_all(listed(5), listed(5))
    assert picture.sight("a").pod_gone
    assert all(sight.job_gone for _, sight in picture.sights())


@pytest.mark.parametrize(("version", "gone"), [(8, False), (9, True), (10, True)])
def test_what_is_newer_than_a_listing_is_not_missing_in_it(version: int, gone: bool) -> None:
    for jobs_version, pods_version in [(version, 20), (20, version)]:
        picture = Picture()
        picture.see_job(job(9))
        picture.see_pod(pod(9))
        picture.see_all(listed(jobs_version), listed(pods_version))
        sight = picture.sight("a")
        assert (sight.job_gone, sight.pod_gone) == (gone or jobs_version == 20, gone or pods_version == 20)


def test_a_listing_from_before_the_deletion_brings_nothing_back() -> None:
    picture = Picture()
    picture.see_job(job(4), gone=True)
    picture.see_pod(pod(5), gone=True)
    seen = picture.sight("a")
    picture.see_all(listed(4, job(3)), listed(4, pod(4)))
    picture.see_all(listed(4, job(4)), listed(5, pod(5)))
    assert picture.sight("a") == seen


def test_a_listing_without_news_of_a_missing_run_wakes_it_once() -> None:
    picture = Picture()
    picture.see_job(job(1))
    picture.see_all(listed(2), listed(2))
    seen = picture.sight("a")
    picture.see_all(listed(3), listed(3))
    assert picture.sight("a") == seen


RELEASED: Manifest = {"suspend": False}
FAILED: Manifest = {"conditions": [{"type": "Failed", "status": "True"}]}


@pytest.mark.parametrize(
    ("sight", "busy"),
    [
        pytest.param(Sight(), False, id="nothing known"),
        pytest.param(Sight(job=job(1)), False, id="waits"),
        pytest.param(Sight(job=job(1, **RELEASED)), True, id="released, pod not there yet"),
        pytest.param(Sight(job=job(1, **RELEASED, **FAILED)), False, id="failed without a pod"),
        pytest.param(Sight(job=job(1, **RELEASED), job_gone=True), False, id="deleted without a pod"),
        pytest.param(Sight(job=job(1, **RELEASED), pod=pod(2, phase="Pending")), True, id="pod pending"),
        pytest.param(Sight(job=job(1, **RELEASED), pod=pod(2)), True, id="pod runs"),
        pytest.param(Sight(job=job(1, **RELEASED), pod=pod(2, phase="Succeeded")), False, id="pod over"),
        pytest.param(Sight(job=job(1, **RELEASED), pod=pod(2), pod_gone=True), False, id="pod gone"),
        pytest.param(Sight(job=job(1, **RELEASED), job_gone=True, pod=pod(2)), True, id="Job deleted, pod ending"),
        pytest.param(Sight(job=job(1, phase="released"), pod=pod(2)), True, id="suspended again, pod ending"),
        pytest.param(Sight(job=job(1, suspend=False, phase="queued"), pod=pod(2)), False, id="rejected, pod runs"),
        pytest.param(Sight(pod=pod(2)), True, id="pod seen before its Job"),
    ],
)
def test_a_run_holds_a_slot_from_its_release_until_nothing_of_it_runs(sight: Sight, busy: bool) -> None:
    assert sight.busy is busy


@pytest.mark.parametrize(
    ("data", "gone", "paused"),
    [
        ({"paused": "true"}, False, True),
        ({"paused": "false"}, False, False),
        ({"paused": "yes"}, False, False),
        ({}, False, False),
        (None, False, False),
        ({"paused": "true"}, True, False),
    ],
)
def test_the_switch_holds_the_queue_only_where_it_says_true(
    data: dict[str, str] | None, gone: bool, paused: bool
) -> None:
    picture = Picture()
    picture.see_switch(switch(1, data), gone=gone)
    assert picture.paused is paused
    assert picture.changed.is_set()


def test_the_newest_version_of_the_switch_counts_in_whatever_order_they_come() -> None:
    picture = Picture()
    picture.see_switch(switch(10, {"paused": "true"}))
    picture.changed.clear()
    picture.see_switch(switch(9, {"paused": "false"}))
    assert picture.paused
    assert not picture.changed.is_set()
    picture.see_switch(switch(11, {"paused": "false"}))
    assert not picture.paused


CHANGES: list[tuple[str, Callable[[Picture], None]]] = [
    ("a newer Job", lambda picture: picture.see_job(job(2))),
    ("the Job's end", lambda picture: picture.see_job(job(2), gone=True)),
    ("a pod", lambda picture: picture.see_pod(pod(2))),
    ("a listing without it", lambda picture: picture.see_all(listed(1), listed(1))),
    ("a word to wake up", lambda picture: picture.wake("a")),
    ("being forgotten", lambda picture: picture.forget("a")),
]
changes = pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in CHANGES])


def known() -> Picture:
    picture = Picture()
    picture.see_job(job(1))
    picture.changed.clear()
    return picture


@changes
def test_whoever_waits_is_woken_by(change: Callable[[Picture], None]) -> None:
    async def scenario() -> None:
        picture = known()
        seen = picture.sight("a")

        async def act() -> None:
            change(picture)

        async with asyncio.timeout(5):
            await asyncio.gather(picture.news("a", seen, None), picture.news("a", seen, None), act())

    asyncio.run(scenario())


@changes
def test_what_happened_since_the_look_is_not_waited_for(change: Callable[[Picture], None]) -> None:
    async def scenario() -> None:
        picture = known()
        seen = picture.sight("a")
        change(picture)
        async with asyncio.timeout(5):
            await picture.news("a", seen, None)

    asyncio.run(scenario())


def test_news_of_another_run_wakes_nobody() -> None:
    async def scenario() -> None:
        picture = known()
        waiting = asyncio.ensure_future(picture.news("a", picture.sight("a"), None))

        async def act() -> None:
            picture.see_job(job(5, "other", name="b"))
            picture.see_job(job(0))  # an older version of its own is no news either

        await asyncio.gather(act(), picture.news("a", picture.sight("a"), 0))
        assert not waiting.done()
        picture.wake("a")
        async with asyncio.timeout(5):
            await waiting

    asyncio.run(scenario())


def test_waiting_has_a_limit() -> None:
    async def scenario() -> None:
        picture = known()
        async with asyncio.timeout(5):
            await picture.news("a", picture.sight("a"), 0.01)

    asyncio.run(scenario())


def test_any_change_shows_to_who_looks_at_all_runs() -> None:
    picture = known()
    picture.see_job(job(0))
    assert not picture.changed.is_set()
    picture.see_pod(pod(2))
    assert picture.changed.is_set()


def test_waking_changes_nothing_but_the_version() -> None:
    picture = known()
    before = picture.sight("a")
    picture.wake("a")
    after = picture.sight("a")
    assert (after.job, after.pod, after.job_gone, after.pod_gone) == (before.job, None, False, False)
    assert after.version > before.version
