"""Reading a run's state from its pod: why it waits, when it started, how it finished."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from launcher.cluster import pods
from launcher.domain.reasons import Reason
from launcher.domain.runs import RunStatus

IMAGE = "localhost/slipway-pipeline:latest"
STARTED = "2026-11-24T08:00:02Z"
FINISHED = "2026-11-24T08:00:09Z"
DELETED_AT = "2026-11-24T08:00:19Z"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"
Pod = dict[str, Any]


def pod(phase: str = "Pending", *, node: str | None = "node", deleting: bool = False, **status: Any) -> Pod:
    metadata: dict[str, Any] = {
        "name": "4711-01jd-x7k2p",
        "uid": "0c7e",
        "resourceVersion": "90",
        "creationTimestamp": "2026-11-24T08:00:00Z",
        "labels": {"batch.kubernetes.io/job-name": "4711-01jd", "slipway.dev/run": "true"},
        "finalizers": ["batch.kubernetes.io/job-tracking"],
    }
    if deleting:
        metadata |= {"deletionTimestamp": DELETED_AT, "deletionGracePeriodSeconds": 10}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 1200,
        "containers": [{"name": "pipeline", "image": IMAGE}],
    }
    if node:
        spec["nodeName"] = node
    whole = {"metadata": metadata, "spec": spec, "status": {"phase": phase, "qosClass": "BestEffort", **status}}
    return pods.slim(whole)  # as the operator keeps it


def container(**state: dict[str, Any]) -> dict[str, Any]:
    return {
        "containerStatuses": [
            {
                "name": "pipeline",
                "image": IMAGE,
                "imageID": "",
                "ready": False,
                "started": "running" in state,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }
        ]
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return container(waiting={"reason": reason, "message": message} if message else {"reason": reason})


def running() -> dict[str, Any]:
    return container(running={"startedAt": STARTED})


def terminated(code: int, reason: str = "Error", message: str | None = None) -> dict[str, Any]:
    state: dict[str, Any] = {
        "exitCode": code,
        "reason": reason,
        "startedAt": STARTED,
        "finishedAt": FINISHED,
        "containerID": "containerd://1f2e",
    }
    return container(terminated=state if message is None else {**state, "message": message})


def scheduling(status: str, reason: str | None = None, message: str = "") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": status, "lastTransitionTime": STARTED}
    return {"conditions": [{**condition, "reason": reason, "message": message} if reason else condition]}


def disruption(reason: str, message: str = "") -> dict[str, Any]:
    initialized = {"type": "Initialized", "status": "True"}
    target = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return {"conditions": [initialized, target]}


FULL = "0/1 nodes are available: 1 Insufficient memory."
NO_SECRET = 'secret "keys" not found'
PULL = 'failed to pull and unpack image "registry.example/a:1": not found'


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        pytest.param(pod(node=None), Reason.UNSCHEDULABLE, ["Waiting for a node."], id="not scheduled yet"),
        pytest.param(
            pod(node=None, **scheduling("False", "Unschedulable", FULL)),
            Reason.UNSCHEDULABLE,
            ["No node can take the pod", FULL],
            id="unschedulable",
        ),
        pytest.param(
            pod(node=None, **scheduling("False", "SchedulerError", "binding rejected")),
            Reason.UNSCHEDULABLE,
            ["No node can take the pod", "binding rejected"],
            id="scheduler error",
        ),
        pytest.param(
            pod(node=None, **scheduling("False", "SchedulingGated")),
            Reason.UNSCHEDULABLE,
            ["No node can take the pod", "SchedulingGated"],
            id="scheduling gate without a message",
        ),
        pytest.param(
            pod(**scheduling("True")), Reason.CANNOT_START, ["being created"], id="on a node, not started there yet"
        ),
        pytest.param(pod(**waiting("ContainerCreating")), Reason.CANNOT_START, ["being created"], id="being created"),
        pytest.param(pod(**waiting("PodInitializing")), Reason.CANNOT_START, ["being created"], id="being initialized"),
        pytest.param(pod(**waiting("ErrImagePull", PULL)), Reason.IMAGE_PULL, [IMAGE, PULL], id="pull failed"),
        pytest.param(
            pod(**waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"')),
            Reason.IMAGE_PULL,
            [IMAGE, "Back-off"],
            id="pull backs off",
        ),
        pytest.param(
            pod(**waiting("ErrImageNeverPull", f'Container image "{IMAGE}" is not present')),
            Reason.IMAGE_PULL,
            [IMAGE, "not present"],
            id="never pulled and not present",
        ),
        pytest.param(
            pod(**waiting("InvalidImageName", "couldn't parse image name")),
            Reason.INVALID_IMAGE,
            [IMAGE],
            id="invalid image name",
        ),
        pytest.param(
            pod(**waiting("CreateContainerConfigError", NO_SECRET)),
            Reason.CANNOT_START,
            ["CreateContainerConfigError", NO_SECRET],
            id="a Secret is missing",
        ),
        pytest.param(
            pod(**waiting("CreateContainerError", "context deadline exceeded")),
            Reason.CANNOT_START,
            ["CreateContainerError", "context deadline exceeded"],
            id="the runtime cannot create it",
        ),
        pytest.param(
            pod(**waiting("RunContainerError", "failed to start")),
            Reason.CANNOT_START,
            ["failed to start"],
            id="the runtime cannot start it",
        ),
    ],
)
def test_a_pod_without_a_started_container_has_a_waiting_state(observed: Pod, reason: Reason, words: list[str]) -> None:
    found = pods.waiting_state(observed)
    assert found is not None
    assert found.reason is reason
    assert found.slow is ("being created" in words)  # nothing is known to be wrong, so it may take longer
    for each in words:
        assert each in found.message


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(pod("Running", **running()), id="running"),
        pytest.param(pod("Running", **terminated(0, "Completed")), id="container has just terminated"),
        pytest.param(pod("Succeeded", **terminated(0, "Completed")), id="succeeded"),
        pytest.param(pod("Failed", reason="OutOfcpu"), id="rejected by the node"),
        pytest.param(
            pod("Failed", reason="DeadlineExceeded", **waiting("ImagePullBackOff")), id="terminated while waiting"
        ),
    ],
)
def test_a_pod_with_a_started_or_terminated_container_has_no_waiting_state(observed: Pod) -> None:
    assert pods.waiting_state(observed) is None


EVICTED: dict[str, Any] = {"reason": "Evicted", "message": "The node was low on resource: memory."}
DEADLINE_EXCEEDED: dict[str, Any] = {"reason": "DeadlineExceeded", "message": DEADLINE_MESSAGE}
NOT_FOUND = 'exec: "pythn": executable file not found in $PATH: unknown'
FAILED, CANCELLED, COMPLETED = RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("observed", "stop_reason", "status", "reason", "exit_code"),
    [
        pytest.param(pod("Succeeded", **terminated(0, "Completed")), None, COMPLETED, Reason.COMPLETED, 0, id="exit 0"),
        pytest.param(
            pod("Succeeded", **terminated(0, "OOMKilled")),
            None,
            COMPLETED,
            Reason.COMPLETED,
            0,
            id="a child was OOM-killed, exit 0",
        ),
        pytest.param(
            pod("Succeeded", **terminated(0, "Completed")),
            Reason.CANCELLED,
            COMPLETED,
            Reason.COMPLETED,
            0,
            id="exit 0 before the cancellation",
        ),
        pytest.param(pod("Failed", **terminated(3)), None, FAILED, Reason.PIPELINE_ERROR, 3, id="exit 3"),
        pytest.param(
            pod("Failed", **terminated(3)),
            Reason.CANCELLED,
            FAILED,
            Reason.PIPELINE_ERROR,
            3,
            id="exit 3 before the cancellation",
        ),
        pytest.param(
            pod("Failed", **terminated(137, "OOMKilled")), None, FAILED, Reason.OUT_OF_MEMORY, 137, id="out of memory"
        ),
        pytest.param(
            pod("Failed", **terminated(1, "OOMKilled")),
            None,
            FAILED,
            Reason.OUT_OF_MEMORY,
            1,
            id="a child was OOM-killed, exit 1",
        ),
        pytest.param(
            pod("Failed", **terminated(137)), None, FAILED, Reason.KILLED_BY_SIGNAL, 137, id="SIGKILL, no OOM"
        ),
        pytest.param(pod("Failed", **terminated(139)), None, FAILED, Reason.KILLED_BY_SIGNAL, 139, id="SIGSEGV"),
        pytest.param(pod("Failed", **terminated(255)), None, FAILED, Reason.PIPELINE_ERROR, 255, id="exit 255"),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)), None, FAILED, Reason.TIMED_OUT, 143, id="deadline"
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(0, "Completed")),
            None,
            FAILED,
            Reason.TIMED_OUT,
            0,
            id="deadline, exit 0",
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)),
            Reason.CANCELLED,
            CANCELLED,
            Reason.CANCELLED,
            143,
            id="cancelled",
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(0, "Completed")),
            Reason.CANCELLED,
            CANCELLED,
            Reason.CANCELLED,
            0,
            id="cancelled, exit 0",
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(137, "OOMKilled")),
            Reason.CANCELLED,
            CANCELLED,
            Reason.CANCELLED,
            137,
            id="cancelled, out of memory during termination",
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)),
            Reason.ARTIFACTS_TOO_LARGE,
            FAILED,
            Reason.ARTIFACTS_TOO_LARGE,
            143,
            id="artifacts too large",
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **waiting("ImagePullBackOff")),
            Reason.IMAGE_PULL,
            FAILED,
            Reason.IMAGE_PULL,
            None,
            id="image not pulled within its grace period",
        ),
        pytest.param(
            pod("Failed", **EVICTED, **terminated(137), **disruption("TerminationByKubelet")),
            None,
            FAILED,
            Reason.EVICTED,
            137,
            id="evicted",
        ),
        pytest.param(pod("Failed", **EVICTED), None, FAILED, Reason.EVICTED, None, id="evicted before it started"),
        pytest.param(
            pod("Failed", deleting=True, **terminated(143), **disruption("EvictionByEvictionAPI")),
            None,
            FAILED,
            Reason.EVICTED,
            143,
            id="drained",
        ),
        pytest.param(
            pod("Failed", deleting=True, **terminated(143), **disruption("PreemptionByScheduler")),
            None,
            FAILED,
            Reason.EVICTED,
            143,
            id="preempted",
        ),
        pytest.param(
            pod("Running", deleting=True, **running(), **disruption("DeletionByTaintManager")),
            None,
            FAILED,
            Reason.NODE_LOST,
            None,
            id="deleted because of a node taint",
        ),
        pytest.param(
            pod("Failed", **running(), **disruption("DeletionByPodGC")),
            None,
            FAILED,
            Reason.NODE_LOST,
            None,
            id="node removed",
        ),
        pytest.param(
            pod("Running", deleting=True, reason="NodeLost", **running()),
            None,
            FAILED,
            Reason.NODE_LOST,
            None,
            id="node unreachable",
        ),
        pytest.param(
            pod("Failed", **terminated(255, "Unknown")),
            None,
            FAILED,
            Reason.NODE_LOST,
            255,
            id="container unknown to containerd",
        ),
        pytest.param(
            pod("Failed", **terminated(137, "ContainerStatusUnknown", "The container could not be located")),
            None,
            FAILED,
            Reason.NODE_LOST,
            137,
            id="container that the kubelet cannot find",
        ),
        pytest.param(
            pod("Failed", **terminated(137, "Unknown")),
            None,
            FAILED,
            Reason.KILLED_BY_SIGNAL,
            137,
            id="an unknown reason, but a signal",
        ),
        *(
            pytest.param(
                pod("Failed", reason=reason, message="Pod was terminated in response to imminent node shutdown."),
                None,
                FAILED,
                Reason.NODE_LOST,
                None,
                id=f"the node shuts down: {reason}",
            )
            for reason in ("NodeShutdown", "Shutdown", "Terminated")
        ),
        pytest.param(
            pod("Failed", reason="Terminated", **terminated(143), **disruption("TerminationByKubelet")),
            None,
            FAILED,
            Reason.NODE_LOST,
            143,
            id="the node shuts down with a running container",
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED, **waiting("ContainerCreating")),
            None,
            FAILED,
            Reason.CANNOT_START,
            None,
            id="deadline before the container started",
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED), None, FAILED, Reason.CANNOT_START, None, id="deadline before any status"
        ),
        pytest.param(
            pod("Failed", **DEADLINE_EXCEEDED),
            Reason.CANCELLED,
            CANCELLED,
            Reason.CANCELLED,
            None,
            id="cancelled before it started",
        ),
        pytest.param(
            pod("Succeeded", deleting=True, **terminated(0, "Completed")),
            None,
            FAILED,
            Reason.DELETED,
            0,
            id="deleted while running, exit 0",
        ),
        pytest.param(
            pod("Failed", deleting=True, **terminated(143)),
            None,
            FAILED,
            Reason.DELETED,
            143,
            id="deleted while running",
        ),
        pytest.param(
            pod("Succeeded", deleting=True, **terminated(0, "Completed")),
            Reason.CANCELLED,
            CANCELLED,
            Reason.CANCELLED,
            0,
            id="cancelled, then deleted, exit 0",
        ),
        pytest.param(pod("Running", **running()), None, FAILED, Reason.DELETED, None, id="disappeared while running"),
        pytest.param(pod(node=None), None, FAILED, Reason.DELETED, None, id="disappeared before it had a node"),
        pytest.param(
            pod("Running", **running()),
            Reason.CANCELLED,
            CANCELLED,
            Reason.CANCELLED,
            None,
            id="cancelled, disappeared while running",
        ),
        pytest.param(
            pod(node=None, **scheduling("False", "Unschedulable", FULL)),
            Reason.UNSCHEDULABLE,
            FAILED,
            Reason.UNSCHEDULABLE,
            None,
            id="stopped because no node had room",
        ),
        pytest.param(
            pod("Failed", **terminated(128, "StartError", f"failed to create containerd task: {NOT_FOUND}")),
            None,
            FAILED,
            Reason.CANNOT_START,
            128,
            id="no such program",
        ),
        pytest.param(
            pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
            None,
            FAILED,
            Reason.CANNOT_START,
            None,
            id="rejected by the node",
        ),
    ],
)
def test_a_terminated_or_deleted_pod_has_one_outcome(
    observed: Pod, stop_reason: Reason | None, status: RunStatus, reason: Reason, exit_code: int | None
) -> None:
    outcome = pods.outcome_of(observed, stop_reason=stop_reason, timeout=600)
    assert (outcome.status, outcome.reason, outcome.exit_code) == (status, reason, exit_code)


@pytest.mark.parametrize(
    ("observed", "stop_reason", "words"),
    [
        (pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)), None, ["600 s", "timeout_seconds"]),
        (pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)), Reason.TIMED_OUT, ["600 s"]),
        (
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)),
            Reason.ARTIFACTS_TOO_LARGE,
            ["artifacts", "the detail"],
        ),
        (
            pod("Failed", **DEADLINE_EXCEEDED),
            None,
            ["could not be started", "deadline passed before its container started"],
        ),
        (pod("Failed", **DEADLINE_EXCEEDED), Reason.IMAGE_PULL, ["IMAGE_PULL_SECRETS", "the detail"]),
        (pod("Failed", **terminated(137)), None, ["SIGKILL", "out of memory"]),
        (pod("Failed", **terminated(139)), None, ["SIGSEGV"]),
        (pod("Failed", **terminated(3)), None, ["exit code 3"]),
        (pod("Failed", **EVICTED, **terminated(137)), None, ["low on resource: memory"]),
        (
            pod(
                "Failed",
                deleting=True,
                **terminated(143),
                **disruption("EvictionByEvictionAPI", "Eviction API: evicting"),
            ),
            None,
            ["Eviction API: evicting"],
        ),
        (pod("Failed", **terminated(128, "StartError", NOT_FOUND)), None, [NOT_FOUND]),
        (pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource"), None, ["OutOfcpu", "enough"]),
    ],
)
def test_the_outcomes_message_says_what_happened_and_what_to_do(
    observed: Pod, stop_reason: Reason | None, words: list[str]
) -> None:
    outcome = pods.outcome_of(observed, stop_reason=stop_reason, timeout=600, detail="the detail")
    for each in words:
        assert each in outcome.message


def test_an_out_of_memory_outcome_names_the_limit() -> None:
    observed = pod("Failed", **terminated(137, "OOMKilled"))
    assert pods.outcome_of(observed, stop_reason=None, timeout=600).message.startswith(
        "The pipeline exceeded its memory limit "
    )
    observed["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    assert "exceeded its memory limit (1 GiB) and" in pods.outcome_of(observed, stop_reason=None, timeout=600).message
    observed["spec"]["containers"][0]["resources"] = {"limits": {"memory": 1000000}}
    assert "exceeded its memory limit (1000000) and" in pods.outcome_of(observed, stop_reason=None, timeout=600).message


def test_the_first_container_of_the_spec_determines_the_state() -> None:
    observed = pod("Failed", **terminated(3))
    observed["spec"]["containers"].append({"name": "sidecar", "image": IMAGE})
    observed["status"]["containerStatuses"].insert(
        0, {"name": "sidecar", "state": {"running": {"startedAt": FINISHED}}}
    )
    assert pods.container_of(observed) == "pipeline"
    assert pods.started_at(observed) == datetime(2026, 11, 24, 8, 0, 2, tzinfo=UTC)
    found = pods.terminated_state(observed)
    assert found is not None
    assert found.exit_code == 3


def test_a_pod_reports_when_its_container_started() -> None:
    since = datetime(2026, 11, 24, 8, 0, 2, tzinfo=UTC)
    assert pods.started_at(pod("Running", **running())) == since
    assert pods.started_at(pod("Failed", **terminated(3))) == since
    assert pods.started_at(pod(**waiting("ContainerCreating"))) is None
    assert pods.started_at(pod(node=None)) is None


@pytest.mark.parametrize("epoch", ["1970-01-01T00:00:00Z", None])
def test_a_container_with_a_zero_start_time_never_started(epoch: str | None) -> None:
    observed = pod("Failed", **terminated(128, "ContainerCannotRun"))
    observed["status"]["containerStatuses"][0]["state"]["terminated"]["startedAt"] = epoch
    assert pods.started_at(observed) is None


def test_an_orphaned_pod_still_belongs_to_its_job() -> None:
    observed = pod()
    assert pods.job_uid(observed) is None
    observed["metadata"]["labels"] = {"batch.kubernetes.io/controller-uid": "5f3c"}
    observed["metadata"]["ownerReferences"] = []
    assert pods.job_uid(observed) == "5f3c"


def test_a_pod_without_a_status_is_pending() -> None:
    bare = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "pipeline", "image": IMAGE}]}}
    assert pods.phase(bare) == "Pending"
    assert not pods.terminated(bare)
    assert not pods.scheduled(bare)
    assert pods.job_name(bare) is None
    assert pods.terminated_state(bare) is None


def test_a_termination_invented_by_the_kubelet_is_ignored() -> None:
    invented = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    observed = pod("Failed", **DEADLINE_EXCEEDED, **container(terminated=invented))
    assert pods.terminated_state(observed) is None
    observed["status"]["containerStatuses"][0]["containerID"] = "containerd://1f2e"
    assert pods.terminated_state(observed) is not None


LOST: dict[str, Any] = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}


@pytest.mark.parametrize("state", [{"waiting": {"reason": "ContainerCreating"}}, {"terminated": LOST}])
def test_an_eviction_is_recognized_whatever_the_container_state_is(state: dict[str, Any]) -> None:
    observed = pod("Failed", **EVICTED, **container(**state))
    observed["status"]["containerStatuses"][0]["lastState"] = {"terminated": LOST}
    outcome = pods.outcome_of(observed, stop_reason=None, timeout=600)
    assert (outcome.reason, outcome.exit_code) == (Reason.EVICTED, 137)
