"""How a pod ended, in the words of its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from checkers.records import Document

_PUSHES = ("EvictionByEvictionAPI", "PreemptionByScheduler")


@dataclass(frozen=True)
class PodEnd:
    """`deleted` None: its times, of whole seconds, leave open whether it was deleted while it ran.

    `pushed_out`: by a call of the eviction API or a pod of higher priority, which write no reason.
    """

    phase: str
    reason: str | None
    exit_code: int | None
    container_reason: str | None
    deleted: bool | None
    pushed_out: bool

    @classmethod
    def of(cls, pod: Document) -> PodEnd:
        """Read a pod."""
        status, container = pod.get("status", {}), main_container(pod)
        ended = container.get("state", {}).get("terminated")
        if not ended and status.get("phase") == "Failed":  # lost from sight by the kubelet, for the moment
            ended = container.get("lastState", {}).get("terminated")
        ended = ended or {}
        exit_code = None if _made_up(container, ended) else ended.get("exitCode")
        return cls(
            status.get("phase", ""),
            status.get("reason"),
            exit_code,
            ended.get("reason"),
            _deleted(pod),
            any(
                condition["type"] == "DisruptionTarget" and condition.get("reason") in _PUSHES
                for condition in status.get("conditions") or []
            ),
        )

    @property
    def well(self) -> bool:
        """Whether the pipeline ended by itself and well; cgroup v1 calls survivors OOMKilled."""
        return self.phase == "Succeeded" or (self.exit_code == 0 and self.reason is None)


def main_container(pod: Document) -> Mapping[str, Any]:
    """Return the status of the pod's first container, the pipeline's; empty where there is none yet."""
    statuses: list[Mapping[str, Any]] = pod.get("status", {}).get("containerStatuses") or []
    names = [container["name"] for container in pod.get("spec", {}).get("containers", [])]
    return next((one for one in statuses if not names or one["name"] == names[0]), {})


def has_run(pod: Document) -> bool:
    """Say whether its container was ever started."""
    container = main_container(pod)
    states = [container.get("state", {}), container.get("lastState", {})]
    return any("running" in state or (state.get("terminated") or {}).get("startedAt") for state in states)


def _made_up(container: Mapping[str, Any], ended: Mapping[str, Any]) -> bool:
    """Say whether the kubelet only says so: a container that was never made has ended, to it, when its pod has."""
    was = ended.get("startedAt") or ended.get("containerID") or container.get("containerID")
    return ended.get("reason") == "ContainerStatusUnknown" and not was and not container.get("lastState")


def _deleted(pod: Document) -> bool | None:
    """Say whether deletion was asked for before the container had ended; None where both were in one second."""
    metadata = pod["metadata"]
    if not metadata.get("deletionTimestamp"):
        return False
    finished = (main_container(pod).get("state", {}).get("terminated") or {}).get("finishedAt")
    if not finished:
        return True
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    asked = datetime.fromisoformat(metadata["deletionTimestamp"]) - grace
    ended = datetime.fromisoformat(finished)
    return None if asked == ended else asked < ended
