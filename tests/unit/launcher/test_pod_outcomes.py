"""The outcome of a run, from a pod that has terminated or was deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from launcher.cluster import pods
from launcher.domain.reasons import Reason
from launcher.domain.runs import RunStatus
from launching.pod_builders import (
    DEADLINE_EXCEEDED,
    EVICTED,
    FINISHED,
    FULL,
    IMAGE,
    NOT_FOUND,
    Pod,
    container,
    disruption,
    pod,
    running,
    scheduling,
    terminated,
    waiting,
)

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
