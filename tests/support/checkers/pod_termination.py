"""How a pod terminated, read from its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from checkers.records import Document

_EVICTION_REASONS = ("EvictionByEvictionAPI", "PreemptionByScheduler")


@dataclass(frozen=True)
class PodTermination:
    """How a pod terminated.

    `deleted` is None if its times, which are whole seconds, cannot show whether it was deleted while it was running.
    `disrupted` by the eviction API or a pod of higher priority, which set no reason.
    """

    phase: str
    reason: str | None
    exit_code: int | None
    container_reason: str | None
    deleted: bool | None
    disrupted: bool

    @classmethod
    def of(cls, pod: Document) -> PodTermination:
        """Read a pod."""
        status, container = pod.get("status", {}), main_container(pod)
        ended = container.get("state", {}).get("terminated")
        if not ended and status.get("phase") == "Failed":  # the kubelet has temporarily lost track of it
            ended = container.get("lastState", {}).get("terminated")
        ended = ended or {}
        exit_code = None if _is_synthetic(container, ended) else ended.get("exitCode")
        return cls(
            status.get("phase", ""),
            status.get("reason"),
            exit_code,
            ended.get("reason"),
            _deleted(pod),
            any(
                condition["type"] == "DisruptionTarget" and condition.get("reason") in _EVICTION_REASONS
                for condition in status.get("conditions") or []
            ),
        )

    @property
    def succeeded(self) -> bool:
        """Whether the pipeline exited successfully by itself; with cgroup v1 even survivors are OOMKilled."""
        return self.phase == "Succeeded" or (self.exit_code == 0 and self.reason is None)


def main_container(pod: Document) -> Mapping[str, Any]:
    """Return the status of the pod's first container, the pipeline's; empty if there is none yet."""
    statuses: list[Mapping[str, Any]] = pod.get("status", {}).get("containerStatuses") or []
    names = [container["name"] for container in pod.get("spec", {}).get("containers", [])]
    return next((one for one in statuses if not names or one["name"] == names[0]), {})


def has_run(pod: Document) -> bool:
    """Whether its container ever started."""
    container = main_container(pod)
    states = [container.get("state", {}), container.get("lastState", {})]
    return any("running" in state or (state.get("terminated") or {}).get("startedAt") for state in states)


def _is_synthetic(container: Mapping[str, Any], ended: Mapping[str, Any]) -> bool:
    """Whether the kubelet made it up: it reports a container that never existed as terminated with its pod."""
    existed = ended.get("startedAt") or ended.get("containerID") or container.get("containerID")
    return ended.get("reason") == "ContainerStatusUnknown" and not existed and not container.get("lastState")


def _deleted(pod: Document) -> bool | None:
    """Whether deletion was requested before the container terminated; None if both were in the same second."""
    metadata = pod["metadata"]
    if not metadata.get("deletionTimestamp"):
        return False
    finished = (main_container(pod).get("state", {}).get("terminated") or {}).get("finishedAt")
    if not finished:
        return True
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    requested = datetime.fromisoformat(metadata["deletionTimestamp"]) - grace
    ended = datetime.fromisoformat(finished)
    return None if requested == ended else requested < ended
