"""Reads a run's state from its pod: what it is waiting for, when it started, how it terminated. Pure.

Sources: the kubelet's and the image service's reasons (`pkg/kubelet/images/types.go`, `pkg/kubelet/container`), the
`DisruptionTarget` condition (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from launcher.cluster import labels
from launcher.cluster.port import Manifest
from launcher.domain.outcomes import PodTermination, outcome_of_pod
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome

WAITING_FOR_NODE = "Waiting for a node."
NO_NODE = "No node can take the pod"
CREATING = "The container is being created: the image is pulled and the volumes are mounted."
_STARTING = {"ContainerCreating", "PodInitializing", ""}
_INVALID_IMAGE = {"InvalidImageName"}
_PULLING = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"}
_CANNOT_START = {"StartError", "ContainerCannotRun", "RunContainerError"}
_NODE_GONE = {"DeletionByTaintManager", "DeletionByPodGC"}
_NODE_DOWN = {"NodeLost", "NodeShutdown", "Shutdown", "Terminated"}
_LOST = {("Unknown", 255), ("ContainerStatusUnknown", 137)}  # reported by containerd and the kubelet after a reboot
_DROPPED_METADATA = {"managedFields", "ownerReferences", "annotations"}
_NODE_PRESSURE = ("node was low on resource", "node had condition")  # `pkg/kubelet/eviction/helpers.go`
_PASSING_TAINTS = ("disk-pressure", "memory-pressure", "pid-pressure", "not-ready", "unreachable")
_EPOCH_YEAR = 1970  # the year of a zero timestamp, which means never


@dataclass(frozen=True, kw_only=True)
class WaitingState:
    """Why a pod's container has not started, and the reason with which the run fails if that lasts too long."""

    reason: Reason
    message: str
    slow: bool = False
    """Whether nothing is wrong with the run but the start can take long: a large image, or a node with a full disk."""


@dataclass(frozen=True, kw_only=True)
class TerminatedState:
    """How the pipeline's container terminated."""

    exit_code: int
    reason: str
    message: str
    finished_at: datetime | None


def slim(pod: Manifest) -> Manifest:
    """Return the part of a pod that Slipway reads: without its volumes, its environment, and who changed what."""
    metadata, spec = pod["metadata"], pod["spec"]
    return {
        "metadata": {name: value for name, value in metadata.items() if name not in _DROPPED_METADATA},
        "spec": {
            **{name: spec[name] for name in ("nodeName", "activeDeadlineSeconds") if name in spec},
            "containers": [
                {name: each[name] for name in ("name", "image", "resources") if name in each}
                for each in spec["containers"]
            ],
        },
        "status": pod.get("status") or {},
    }


def job_name(pod: Manifest) -> str | None:
    """Return the name of the pod's Job."""
    name: str | None = (pod["metadata"].get("labels") or {}).get(labels.JOB_NAME)
    return name


def job_uid(pod: Manifest) -> str | None:
    """Return the uid of the pod's Job."""
    uid: str | None = (pod["metadata"].get("labels") or {}).get(labels.JOB_UID)
    return uid


def phase(pod: Manifest) -> str:
    """Return the pod's phase."""
    text: str = (pod.get("status") or {}).get("phase", "Pending")
    return text


def terminated(pod: Manifest) -> bool:
    """Whether every container has terminated and none will start."""
    return phase(pod) in ("Succeeded", "Failed")


def deleting(pod: Manifest) -> bool:
    """Whether the pod is being deleted."""
    return pod["metadata"].get("deletionTimestamp") is not None


def scheduled(pod: Manifest) -> bool:
    """Whether the pod has been assigned to a node."""
    return bool(pod["spec"].get("nodeName"))


def container_of(pod: Manifest) -> str:
    """Return the name of the container that has the run's log: the first one."""
    name: str = pod["spec"]["containers"][0]["name"]
    return name


def started_at(pod: Manifest) -> datetime | None:
    """Return when the pipeline's container started, in whole seconds; None if it has not."""
    state = _state(pod)
    found = state.get("running") or state.get("terminated") or {}
    moment = _moment(found.get("startedAt"))
    return moment if moment and moment.year > _EPOCH_YEAR else None


def waiting_state(pod: Manifest) -> WaitingState | None:
    """Return why the pod's container has not started; None if it has."""
    state = _state(pod)
    if state.get("running") or state.get("terminated") or terminated(pod):
        return None
    if not scheduled(pod):
        message = _why_no_node(pod)
        passing = any(f"node.kubernetes.io/{taint}" in message for taint in _PASSING_TAINTS)
        return WaitingState(reason=Reason.UNSCHEDULABLE, message=message, slow=passing)
    waiting = state.get("waiting") or {}
    cause, message = waiting.get("reason", ""), waiting.get("message", "")
    image = pod["spec"]["containers"][0]["image"]
    if cause in _INVALID_IMAGE:
        return WaitingState(reason=Reason.INVALID_IMAGE, message=f"The image name is not valid: {image}")
    if cause in _PULLING:
        return WaitingState(reason=Reason.IMAGE_PULL, message=f"The image {image} cannot be pulled: {message}")
    if cause in _STARTING:
        return WaitingState(reason=Reason.CANNOT_START, message=CREATING, slow=True)
    return WaitingState(reason=Reason.CANNOT_START, message=f"The container cannot be created: {cause}: {message}")


def evicted_at(pod: Manifest) -> datetime | None:
    """Return when a node that lacked disk space or memory evicted or rejected the pod; None if none did."""
    status = pod.get("status") or {}
    if status.get("reason") != "Evicted" or not any(words in status.get("message", "") for words in _NODE_PRESSURE):
        return None
    times = (_moment(pod["metadata"]["creationTimestamp"]), _moment(_disruption(pod).get("lastTransitionTime")))
    return max(filter(None, times), default=None)


def _why_no_node(pod: Manifest) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"{NO_NODE}: {condition.get('message') or condition.get('reason', '')}"
    return WAITING_FOR_NODE


def terminated_state(pod: Manifest) -> TerminatedState | None:
    """Return how the pipeline's container terminated; None if it is running or never started."""
    container = _container(pod)
    state = (container.get("state") or {}).get("terminated")
    if not state and terminated(pod):  # the kubelet lost track of the container and reports it as waiting
        state = (container.get("lastState") or {}).get("terminated")
    if not state or _never_existed(container, state):
        return None
    return TerminatedState(
        exit_code=state["exitCode"],
        reason=state.get("reason", ""),
        message=state.get("message", ""),
        finished_at=_moment(state.get("finishedAt")),
    )


def outcome_of(pod: Manifest, *, stop_reason: Reason | None, timeout: float, detail: str = "") -> Outcome:
    """Decide the outcome of a terminated or deleted pod. `stop_reason` is why Slipway stopped it, if it did."""
    return outcome_of_pod(_termination_of(pod), stop_reason=stop_reason, timeout=timeout, detail=detail)


def _termination_of(pod: Manifest) -> PodTermination:
    status = pod.get("status") or {}
    state = terminated_state(pod)
    by_deadline = status.get("reason") == "DeadlineExceeded"
    external_cause = _external_cause(pod)
    if external_cause:
        detail = status.get("message") or _disruption(pod).get("message", "")
    elif state:
        detail = state.message if state.reason in _CANNOT_START else ""
    else:
        detail = f"{status.get('reason', '')} {status.get('message', '')}".strip()
    return PodTermination(
        succeeded=phase(pod) == "Succeeded" and not deleting(pod),
        by_deadline=by_deadline,
        interrupted=by_deadline or deleting(pod) or not terminated(pod),
        exit_code=state.exit_code if state else None,
        out_of_memory=state is not None and state.reason == "OOMKilled",
        cannot_start=state is not None and state.reason in _CANNOT_START,
        external_cause=external_cause,
        detail=detail,
        memory_limit=_memory_limit(pod),
    )


def _external_cause(pod: Manifest) -> Reason | None:
    """Return the reason if something other than Slipway or the pipeline terminated the pod."""
    status, disruption = pod.get("status") or {}, _disruption(pod).get("reason")
    state = terminated_state(pod)
    if status.get("reason") == "Evicted":  # first, because the kubelet can lose track of the container it stopped
        return Reason.EVICTED
    lost = state is not None and (state.reason, state.exit_code) in _LOST
    if lost or status.get("reason") in _NODE_DOWN or disruption in _NODE_GONE:
        return Reason.NODE_LOST
    if disruption is not None:
        return Reason.EVICTED
    return Reason.DELETED if deleting(pod) or not terminated(pod) else None


def _memory_limit(pod: Manifest) -> str:
    limits = (pod["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
    return str(limits.get("memory", ""))


def _state(pod: Manifest) -> Manifest:
    found: Manifest = _container(pod).get("state") or {}
    return found


def _container(pod: Manifest) -> Manifest:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status["name"] == container_of(pod):
            found: Manifest = status
            return found
    return {}


def _never_existed(container: Manifest, state: Manifest) -> bool:
    """Whether a terminated container never existed: the kubelet reports such a state for pods that it rejects."""
    existed = (
        state.get("containerID") or state.get("startedAt") or container.get("containerID") or container.get("lastState")
    )
    return state.get("reason") == "ContainerStatusUnknown" and not existed


def _disruption(pod: Manifest) -> Manifest:
    """Return the condition with which Kubernetes announces that it terminates the pod; empty if there is none."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            found: Manifest = condition
            return found
    return {}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
