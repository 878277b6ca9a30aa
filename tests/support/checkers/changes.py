"""Changes to pods, Jobs and Events that Kubernetes reports, as small values.

Kubernetes' own times have whole seconds, so durations use `seen`, the wall clock of the watcher. The order of changes
comes only from resource versions. All objects of a cluster share one counter (etcd's revision, k3s' row), so changes
to pods and Jobs can be ordered relative to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from checkers.pod_termination import main_container
from checkers.records import CANCEL_ANNOTATION

RUN_LABEL = "slipway.dev/run"
JOB_LABEL = "batch.kubernetes.io/job-name"
DELETED = "DELETED"
TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})

Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PodChange:
    """A pod after a change. `started` and `finished` are its first container's times, in whole seconds."""

    seen: float
    kind: str
    resource_version: int
    uid: str
    name: str
    run_id: str
    job: str
    phase: str
    deleting: bool = False
    started: str | None = None
    finished: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it takes a slot: it exists and its phase is not terminal, even if it is being deleted."""
        return self.kind != DELETED and self.phase not in TERMINAL_PHASES


@dataclass(frozen=True, kw_only=True)
class JobChange:
    """A run's Job after a change."""

    seen: float
    kind: str
    resource_version: int
    uid: str
    run_id: str
    suspended: bool
    cancelled: bool = False
    finished: bool = False

    @property
    def waiting(self) -> bool:
        """Whether it is waiting to be released."""
        return self.suspended and not (self.cancelled or self.finished or self.kind == DELETED)


@dataclass(frozen=True, kw_only=True)
class ClusterEvent:
    """A Kubernetes Event and the object it is about."""

    seen: float
    kind: str
    uid: str
    reason: str
    about_kind: str
    about_name: str
    message: str


class _Change(Protocol):
    @property
    def resource_version(self) -> int: ...


C = TypeVar("C", bound=_Change)


def in_order(changes: Iterable[C]) -> list[C]:
    """Sort changes by resource version; equal ones, as after a second listing, keep their order."""
    return sorted(changes, key=lambda change: change.resource_version)


def pod_change(kind: str, pod: Object, seen: float) -> PodChange:
    """Read a pod from a watch."""
    metadata, status = pod["metadata"], pod.get("status", {})
    labels = metadata.get("labels") or {}
    owners = [owner["name"] for owner in metadata.get("ownerReferences") or [] if owner["kind"] == "Job"]
    state = main_container(pod).get("state", {})
    times = state.get("terminated") or state.get("running") or {}
    return PodChange(
        seen=seen,
        kind=kind,
        resource_version=int(metadata["resourceVersion"]),
        uid=metadata["uid"],
        name=metadata["name"],
        run_id=owners[0] if owners else labels.get(JOB_LABEL, ""),
        job=owners[0] if owners else labels.get(JOB_LABEL, ""),
        phase=status.get("phase", ""),
        deleting="deletionTimestamp" in metadata,
        started=times.get("startedAt"),
        finished=times.get("finishedAt"),
    )


def job_change(kind: str, job: Object, seen: float) -> JobChange:
    """Read a Job from a watch; its name is the run id."""
    metadata = job["metadata"]
    conditions = job.get("status", {}).get("conditions") or []
    return JobChange(
        seen=seen,
        kind=kind,
        resource_version=int(metadata["resourceVersion"]),
        uid=metadata["uid"],
        run_id=metadata["name"],
        suspended=bool(job.get("spec", {}).get("suspend")),
        cancelled=CANCEL_ANNOTATION in (metadata.get("annotations") or {}),
        finished=any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions),
    )


def cluster_event(kind: str, event: Object, seen: float) -> ClusterEvent:
    """Read an Event (v1) from a watch."""
    about = event.get("involvedObject", {})
    return ClusterEvent(
        seen=seen,
        kind=kind,
        uid=event["metadata"]["uid"],
        reason=event.get("reason") or "",
        about_kind=about.get("kind", ""),
        about_name=about.get("name", ""),
        message=event.get("message") or "",
    )
