"""Builders of what the cluster cache receives: Jobs, pods, the queue's switch and listings, with versions."""

from __future__ import annotations

from typing import Any

from launcher.cluster.port import Listing
from pipeline_operator.cluster_cache import ClusterCache

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
