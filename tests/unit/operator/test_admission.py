"""Admission: in queue order, never beyond the limit or the quota, whatever else changes the cluster."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cluster import jobs, manifests
from launcher.cluster.port import Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectChanged
from launcher.domain.pipelines import Pipeline
from launcher.domain.run_queue import RunQueue, queue_order
from launcher.domain.runs import Run, now
from launcher.settings import SharedSettings
from launching.fake_cluster import FakeCluster, merged
from pipeline_operator.admission import Admission
from pipeline_operator.cluster_cache import ClusterCache

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
SETTINGS = SharedSettings.from_environment({})
REFUSED = ClusterError("Kubernetes refused: denied by a webhook")


def a_run(name: str, priority: int = 0, after: float = 0) -> Run:
    at = AT + timedelta(seconds=after)
    return Run(run_id=name, job_id=name, priority=priority, created_at=at, updated_at=at)


class Harness:
    """A queue on a cluster, with its waiting and active runs and its quota."""

    def __init__(
        self, waiting: Sequence[Run], *, limit: int, hard: int | str | None = None, used: int | str = 0
    ) -> None:
        self.cache = ClusterCache()
        self.cluster = FakeCluster(self.cache)
        self.cluster.watched = set()
        self.queue = RunQueue(waiting)
        self.prepared: list[str] = []
        self.unprepared: set[str] = set()
        for run in waiting:
            self.cache.observe_job(self.cluster.put("Job", manifests.make_job(run, Pipeline(), SETTINGS)))
        if hard is not None:
            status = {"hard": {"pods": str(hard)}, "used": {"pods": str(used)}}
            self.cluster.put("ResourceQuota", {"metadata": {"name": "slipway-runs"}, "status": status})
        self.admission = Admission(
            self.cluster,
            self.cache,
            limit=limit,
            queue=self.queue,
            prepare=self.prepare,
            clock=lambda: self.seconds,
            now=lambda: AT + timedelta(seconds=self.seconds),
        )
        self.seconds = 0.0
        self.cache.on_change = self.leave_queue

    def leave_queue(self, run_id: str) -> None:
        """Remove a run from the queue once it is released, as the operator does."""
        if self.phase(run_id) != "queued":
            self.queue.discard(run_id)

    def phase(self, run_id: str) -> str:
        job = self.cache.get(run_id).job
        assert job is not None
        return jobs.phase_of(job)

    def prepare(self, run_id: str) -> None:
        assert run_id not in self.unsuspended()  # its folder exists before its pod can
        if run_id in self.unprepared:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.prepared.append(run_id)

    def released_before(self, name: str, pod: str | None) -> None:
        """Add a run that already has its slot, without a pod yet or with one in this phase."""
        job = manifests.make_job(a_run(name), Pipeline(), SETTINGS)
        job = self.cluster.put("Job", job)
        job = merged(job, manifests.release_patch(job))
        self.cache.observe_job(self.cluster.put("Job", job))
        if pod:
            self.observe_pod(name, pod)

    def observe_pod(self, name: str, phase: str, **status: object) -> None:
        job = self.cluster.objects["Job", name]
        metadata = {
            "name": f"{name}-x7k2p",
            "creationTimestamp": "2026-11-24T08:00:00Z",
            "labels": {
                "batch.kubernetes.io/job-name": name,
                "batch.kubernetes.io/controller-uid": job["metadata"]["uid"],
            },
            "ownerReferences": [
                {"kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True},
            ],
        }
        pod = {
            "metadata": metadata,
            "spec": {"containers": [{"name": "pipeline"}]},
            "status": {"phase": phase, **status},
        }
        self.cache.observe_pod(self.cluster.put("Pod", pod))

    def switch(self, paused: str) -> Manifest:
        """Set the queue's switch on the cluster; the cache does not have it yet."""
        return self.cluster.put("ConfigMap", {"metadata": {"name": "slipway-queue"}, "data": {"paused": paused}})

    def admit(self) -> list[str]:
        """Admit once; return the released runs, in order."""
        before = self.unsuspended()
        asyncio.run(self.admission.admit())
        order = [call.removeprefix("patch Job ") for call in self.cluster.calls if call.startswith("patch Job ")]
        return [name for name in dict.fromkeys(order) if name in self.unsuspended() - before]

    def unsuspended(self) -> set[str]:
        found = self.cluster.objects.items()
        return {name for (kind, name), job in found if kind == "Job" and not job["spec"]["suspend"]}


def test_the_first_in_the_queue_are_released_into_the_free_slots() -> None:
    harness = Harness([a_run("late", after=2), a_run("early", after=1), a_run("urgent", 9, after=3)], limit=2, hard=2)
    assert harness.admit() == ["urgent", "early"]
    assert harness.prepared == ["urgent", "early"]
    released = harness.cluster.objects["Job", "urgent"]
    assert released["metadata"]["labels"]["slipway.dev/phase"] == "released"
    assert harness.cluster.objects["Job", "late"]["spec"]["suspend"]


def test_a_released_run_holds_its_slot_before_its_event_arrives() -> None:
    harness = Harness([a_run("a"), a_run("b", after=1), a_run("c", after=2)], limit=1, hard=1)
    assert harness.admit() == ["a"]
    assert harness.admit() == []
    assert harness.admit() == []


def test_a_slot_is_free_as_soon_as_its_pod_has_terminated() -> None:
    harness = Harness([a_run("b"), a_run("c", after=1)], limit=1, hard=1)
    harness.released_before("a", "Running")
    assert harness.admit() == []
    harness.observe_pod("a", "Succeeded")
    assert harness.admit() == ["b"]


@pytest.mark.parametrize(
    "message",
    [
        "The node was low on resource: ephemeral-storage. Threshold quantity: 5Gi, available: 1Gi. ",
        "Pod was rejected: The node had condition: [DiskPressure]. ",
    ],
)
def test_nothing_is_released_until_a_node_that_evicted_a_run_is_known_to_be_full(message: str) -> None:
    harness = Harness([a_run("b")], limit=2)
    harness.released_before("a", "Running")
    harness.observe_pod("a", "Failed", reason="Evicted", message=message)
    assert harness.admit() == []
    harness.seconds = 19
    assert harness.admit() == []
    harness.seconds = 20
    assert harness.admit() == ["b"]


def test_an_eviction_in_the_future_holds_back_the_queue_no_longer_than_one_of_this_moment() -> None:
    harness = Harness([a_run("b")], limit=2)
    harness.released_before("a", "Running")
    ahead = [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2999-01-01T00:00:00Z"}]
    message = "The node was low on resource: ephemeral-storage. "
    harness.observe_pod("a", "Failed", reason="Evicted", message=message, conditions=ahead)
    assert harness.cache.evicted_at is not None and harness.cache.evicted_at <= now()


def test_a_run_that_was_evicted_for_its_own_disk_usage_delays_no_other() -> None:
    harness = Harness([a_run("b")], limit=1)
    harness.released_before("a", "Running")
    message = "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "
    harness.observe_pod("a", "Failed", reason="Evicted", message=message)
    assert harness.admit() == ["b"]


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], 3, id="no active run"),
        pytest.param(["Running"], 2, id="one runs"),
        pytest.param(["Pending"], 2, id="one is pending"),
        pytest.param([None], 2, id="one has no pod yet"),
        pytest.param(["Succeeded", "Failed"], 3, id="two have finished"),
        pytest.param(["Running", "Pending", None], 0, id="all slots in use"),
        pytest.param(["Running", "Running", "Running", "Running"], 0, id="more than the limit"),
    ],
)
def test_slots_in_use_are_counted_from_the_cache(pods: list[str | None], expected: int) -> None:
    harness = Harness([a_run(f"w{number}", after=number) for number in range(5)], limit=3)
    for number, pod in enumerate(pods):
        harness.released_before(f"r{number}", pod)
    assert len(harness.admit()) == expected


@pytest.mark.parametrize(
    ("hard", "used", "in_flight", "expected"),
    [
        pytest.param(5, 0, 0, 3, id="room for all"),
        pytest.param(2, 0, 0, 2, id="less room than slots"),
        pytest.param(5, 4, 0, 1, id="other pods take room"),
        pytest.param(5, 5, 0, 0, id="no room"),
        pytest.param(5, 9, 0, 0, id="more used than allowed"),
        pytest.param(3, 0, 1, 2, id="room is reserved for a release in flight"),
        pytest.param(2, 0, 2, 0, id="all room is reserved for releases in flight"),
    ],
)
def test_nothing_is_released_beyond_the_quota(hard: int, used: int, in_flight: int, expected: int) -> None:
    harness = Harness(
        [a_run(f"w{number}", after=number) for number in range(3)], limit=3 + in_flight, hard=hard, used=used
    )
    for number in range(in_flight):
        harness.released_before(f"r{number}", None)
    assert len(harness.admit()) == expected


def test_without_a_quota_only_the_limit_applies() -> None:
    assert Harness([a_run("a"), a_run("b", after=1)], limit=1).admit() == ["a"]


@pytest.mark.parametrize("status", [None, {}, {"used": {}}])
def test_a_quota_without_status_has_no_room(status: Manifest | None) -> None:
    harness = Harness([a_run("a")], limit=1)
    quota: Manifest = {"metadata": {"name": "slipway-runs"}, "spec": {"hard": {"pods": "1"}}}
    harness.cluster.put("ResourceQuota", quota if status is None else {**quota, "status": status})
    assert harness.admit() == []
    harness.cluster.put("ResourceQuota", {**quota, "status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}})
    assert harness.admit() == ["a"]


def test_a_quota_without_pods_does_not_limit_runs() -> None:
    harness = Harness([a_run("a")], limit=1)
    status = {"hard": {"requests.cpu": "4"}, "used": {"requests.cpu": "4"}}
    harness.cluster.put("ResourceQuota", {"metadata": {"name": "slipway-runs"}, "status": status})
    assert harness.admit() == ["a"]


@pytest.mark.parametrize(
    ("hard", "used", "expected"), [("1k", "998", 2), ("1k", "1k", 0), ("2k", "1k", 3), ("1k", "0", 3)]
)
def test_a_quota_of_a_thousand_is_read_in_kubernetes_notation(hard: str, used: str, expected: int) -> None:
    harness = Harness([a_run(f"w{number}", after=number) for number in range(3)], limit=3, hard=hard, used=used)
    assert len(harness.admit()) == expected


def test_a_paused_queue_releases_nothing_and_makes_no_calls() -> None:
    harness = Harness([a_run("a")], limit=1, hard=1)
    harness.cache.observe_queue_config(harness.switch("true"))
    assert harness.admit() == []
    assert harness.cluster.calls == []
    harness.cache.observe_queue_config(harness.switch("false"))
    assert harness.admit() == ["a"]


def test_a_paused_queue_releases_nothing_before_its_event_arrives() -> None:
    harness = Harness([a_run("a")], limit=1, hard=1)
    harness.cache.observe_queue_config(harness.switch("false"))
    harness.switch("true")
    assert harness.admit() == []
    assert harness.cache.paused
    harness.cache.observe_queue_config(harness.switch("false"))
    assert harness.admit() == ["a"]


def test_an_empty_queue_makes_no_calls() -> None:
    harness = Harness([], limit=1, hard=1)
    assert harness.admit() == []
    assert harness.cluster.calls == []


def test_a_job_that_has_changed_is_released_and_its_new_version_cached() -> None:
    harness = Harness([a_run("a"), a_run("b", after=1)], limit=2, hard=2)
    asyncio.run(harness.cluster.patch("Job", "a", manifests.cancel_patch(AT)))
    assert harness.admit() == ["a", "b"]
    job = harness.cache.get("a").job
    assert job is not None
    assert jobs.cancel_requested(job)
    assert not jobs.suspended(job)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([], id="refused"),
        pytest.param([ObjectChanged("Precondition failed: UID in precondition: a")], id="changed"),
    ],
)
def test_a_replaced_job_is_released_after_its_event(faults: list[Exception]) -> None:
    harness = Harness([a_run("a"), a_run("b", after=1)], limit=2, hard=2)
    harness.cluster.faults["patch Job a"] = faults
    replacement = harness.cluster.put("Job", manifests.make_job(a_run("a"), Pipeline(), SETTINGS))
    assert harness.admit() == ["b"]
    assert harness.cluster.objects["Job", "a"]["spec"]["suspend"]
    harness.cache.observe_job(replacement)
    harness.seconds += 2
    assert harness.admit() == ["a"]


@pytest.mark.parametrize("fault", ["the cluster refuses", "the folder cannot be created"])
def test_a_run_that_cannot_be_released_does_not_block_others(fault: str) -> None:
    harness = Harness([a_run("a"), a_run("b", after=1)], limit=2, hard=2)
    if fault == "the cluster refuses":
        harness.cluster.faults["patch Job a"] = [REFUSED]
    else:
        harness.unprepared = {"a"}
    assert harness.admit() == ["b"]
    assert harness.unsuspended() == {"b"}
    harness.unprepared = set()
    harness.seconds += 2
    assert harness.admit() == ["a"]


def test_runs_that_cannot_be_released_leave_their_slots_to_the_next_and_are_retried_with_backoff() -> None:
    harness = Harness([a_run("a"), a_run("b", after=1), a_run("c", after=2)], limit=2, hard=2)
    harness.cluster.faults = {"patch Job a": [REFUSED] * 60, "patch Job b": [REFUSED] * 60}
    assert harness.admit() == ["c"]
    for _ in range(60):
        harness.seconds += 1
        assert harness.admit() == []
    assert 5 <= harness.cluster.calls.count("patch Job a") <= 8


def test_a_deleted_job_is_skipped() -> None:
    harness = Harness([a_run("a"), a_run("b", after=1)], limit=2, hard=2)
    del harness.cluster.objects["Job", "a"]
    assert harness.admit() == ["b"]


def test_a_job_that_is_no_longer_queued_is_not_released_again() -> None:
    harness = Harness([a_run("a")], limit=1)
    harness.admission = Admission(
        harness.cluster, harness.cache, limit=9, queue=RunQueue([a_run("a")]), prepare=harness.prepare
    )
    assert harness.admit() == ["a"]
    assert harness.admit() == []
    assert harness.cluster.calls.count("patch Job a") == 1


def test_an_unavailable_cluster_is_raised_to_the_caller() -> None:
    harness = Harness([a_run("a"), a_run("b", after=1)], limit=2, hard=2)
    harness.cluster.faults["patch Job a"] = [ClusterUnavailable()]
    with pytest.raises(ClusterUnavailable):
        harness.admit()
    assert harness.unsuspended() == set()
    assert harness.admit() == ["a", "b"]


queues = st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3)), max_size=7)
others = st.lists(st.sampled_from([None, "Pending", "Running", "Succeeded", "Failed"]), max_size=5)


@given(queues, others, st.integers(1, 5), st.none() | st.integers(0, 6), st.booleans())
def test_the_limit_holds_and_no_slot_stays_unused(
    queue: list[tuple[int, int]], pods: list[str | None], limit: int, hard: int | None, paused: bool
) -> None:
    runs = [a_run(f"w{number}", priority, after) for number, (priority, after) in enumerate(queue)]
    holding = [pod for pod in pods if pod not in ("Succeeded", "Failed")]
    harness = Harness(runs, limit=limit, hard=hard, used=sum(pod is not None for pod in holding))
    for number, pod in enumerate(pods):
        harness.released_before(f"r{number}", pod)
    harness.cache.observe_queue_config(harness.switch(str(paused).lower()))
    free = max(0, limit - len(holding))
    if hard is not None:
        free = min(free, max(0, hard - len(holding)))
    if paused:
        free = 0
    assert harness.admit() == [run.run_id for run in sorted(runs, key=queue_order)[:free]]
    assert harness.admit() == []
