"""The cluster cache: which pod belongs to a run whose Job or pod was replaced."""

from __future__ import annotations

import pytest

from launching.cached_objects import job, listing, pod, resync, uid_of
from pipeline_operator.cluster_cache import ClusterCache


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
