"""The cluster cache: what a complete listing adds and what it marks as deleted."""

from __future__ import annotations

import pytest

from launching.cached_objects import job, listing, pod, resync, version_of
from pipeline_operator.cluster_cache import ClusterCache


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
