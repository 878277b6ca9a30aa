"""Reading a run's state from its pod: why it waits, and when it started."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from launcher.cluster import pods
from launcher.cluster.pods import CREATING, NO_NODE, WAITING_FOR_NODE
from launcher.domain.reasons import Reason
from launching.pod_builders import FULL, IMAGE, Pod, disruption, pod, running, scheduling, terminated, waiting

NO_SECRET = 'secret "keys" not found'
PULL = 'failed to pull and unpack image "registry.example/a:1": not found'


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        pytest.param(pod(node=None), Reason.UNSCHEDULABLE, [WAITING_FOR_NODE], id="not scheduled yet"),
        pytest.param(
            pod(node=None, **scheduling("False", "Unschedulable", FULL)),
            Reason.UNSCHEDULABLE,
            [NO_NODE, FULL],
            id="unschedulable",
        ),
        pytest.param(
            pod(node=None, **scheduling("False", "SchedulerError", "binding rejected")),
            Reason.UNSCHEDULABLE,
            [NO_NODE, "binding rejected"],
            id="scheduler error",
        ),
        pytest.param(
            pod(node=None, **scheduling("False", "SchedulingGated")),
            Reason.UNSCHEDULABLE,
            [NO_NODE, "SchedulingGated"],
            id="scheduling gate without a message",
        ),
        pytest.param(pod(**scheduling("True")), Reason.CANNOT_START, [CREATING], id="on a node, not started there yet"),
        pytest.param(pod(**waiting("ContainerCreating")), Reason.CANNOT_START, [CREATING], id="being created"),
        pytest.param(pod(**waiting("PodInitializing")), Reason.CANNOT_START, [CREATING], id="being initialized"),
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
    assert found.slow is (CREATING in words)  # nothing is known to be wrong, so it may take longer
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


@pytest.mark.parametrize("taint", ["disk-pressure", "memory-pressure", "not-ready"])
def test_a_pod_that_waits_for_the_node_to_recover_may_wait_longer(taint: str) -> None:
    message = f"0/1 nodes are available: 1 node(s) had untolerated taint(s) {{node.kubernetes.io/{taint}: }}."
    found = pods.waiting_state(pod(node=None, **scheduling("False", "Unschedulable", message)))
    assert found is not None
    assert (found.reason, found.slow) == (Reason.UNSCHEDULABLE, True)
    assert message in found.message


def test_an_eviction_counts_from_its_condition() -> None:
    low = {"reason": "Evicted", "message": "The node was low on resource: memory. "}
    evicted = pod("Failed", **low, **disruption("TerminationByKubelet"))
    evicted["status"]["conditions"][-1]["lastTransitionTime"] = "2026-11-24T08:03:00Z"
    assert pods.evicted_at(evicted) == datetime(2026, 11, 24, 8, 3, tzinfo=UTC)
    assert pods.evicted_at(pod("Failed", **low)) == datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
    assert (
        pods.evicted_at(pod("Failed", reason="Evicted", message="Usage of EmptyDir volume exceeds the limit")) is None
    )


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
