"""The cluster cache: which version of Jobs and pods wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launching.cached_objects import Manifest, job, listing, pod, resync, switch, version_of
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun


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
