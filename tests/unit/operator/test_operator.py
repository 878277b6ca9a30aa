"""The operator as a whole, on a fake cluster: housekeeping and broken Jobs do not keep runs from starting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from launcher.cluster import labels, manifests
from launcher.cluster.port import Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable, StoreUnavailable
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import cancelled_before_start
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run, now
from launcher.wiring import open_recording, open_storage
from launching.fake_cluster import FakeCluster, merged
from launching.fake_kubelet import FakeKubelet
from pipeline_operator import housekeeping
from pipeline_operator.app import Operator
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.settings import OperatorSettings


class Harness:
    """An operator on a fake cluster, with a queued run and the real archive."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.settings = OperatorSettings.from_environment(
            {"ARCHIVE_DIR": f"{folder}/archive", "APPLICATIONS_DIR": f"{folder}/applications", "JOB_TTL_SECONDS": "60"}
        )
        self.storage = open_storage(self.settings, stack)
        recording = open_recording(self.settings, self.storage)
        stack.push_async_callback(recording.publisher.stop)
        self.cluster = FakeCluster(ClusterCache())
        for kind, name in (("ConfigMap", labels.QUEUE), ("Lease", labels.LEASE)):
            self.cluster.put(kind, {"metadata": {"name": name}})
        self.operator = Operator(self.cluster, self.storage, recording, self.settings)
        self.cluster.cache = self.operator
        self.queue("1")

    def queue(self, job_id: str) -> Manifest:
        run = Run(run_id=f"{job_id}-01jd", job_id=job_id, created_at=now(), updated_at=now())
        return self.cluster.put("Job", manifests.make_job(run, Pipeline(), self.settings))

    def record_unreleased(self, job_id: str, record: str | None = None) -> None:
        """Put a Job that was recorded an hour ago and never released, so that Kubernetes does not finish it."""
        at = now() - timedelta(hours=1)
        job = self.queue(job_id)
        run = Run(run_id=f"{job_id}-01jd", job_id=job_id, created_at=at, updated_at=at)
        finished = run.finished(cancelled_before_start(), at, Receipt(complete=True))
        patch = manifests.record_patch(job, finished, 60)
        if record is not None:
            patch["metadata"]["annotations"][labels.RECORD] = record
        self.cluster.put("Job", merged(job, patch))

    def phase(self, job_id: str) -> str:
        phase: str = self.cluster.objects["Job", f"{job_id}-01jd"]["metadata"]["labels"][labels.PHASE]
        return phase


@asynccontextmanager
async def started_harness(folder: Path) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        made = Harness(folder, stack)
        kubelet = asyncio.create_task(FakeKubelet(made.cluster).run())
        stack.callback(kubelet.cancel)
        stack.push_async_callback(made.operator.stop)
        yield made


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "fault", [ClusterUnavailable("etcd leader changed"), ClusterError("denied by a webhook"), ValueError("unexpected")]
)
def test_a_job_that_cannot_be_deleted_does_not_keep_runs_from_starting(tmp_path: Path, fault: Exception) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            harness.record_unreleased("2")
            harness.cluster.faults["delete Job"] = [fault] * 1000
            harness.operator.start()
            await until(lambda: harness.phase("1") == labels.PHASE_RECORDED)
            assert "delete Job 2-01jd" in harness.cluster.calls
            assert ("Job", "2-01jd") in harness.cluster.objects

    asyncio.run(scenario())


def test_a_recorded_job_that_was_never_released_is_deleted_after_its_ttl(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            harness.record_unreleased("2")
            harness.operator.start()
            await until(lambda: ("Job", "2-01jd") not in harness.cluster.objects)
            assert ("Job", "1-01jd") in harness.cluster.objects

    asyncio.run(scenario())


@pytest.mark.parametrize("record", ["", "no JSON", "[]", '{"run_id": 5}', '{"created_at": "yesterday"}', "null"])
def test_a_job_with_a_broken_record_stops_no_resync(tmp_path: Path, record: str) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            harness.record_unreleased("2", record)
            harness.record_unreleased("3")
            harness.operator.start()
            await until(lambda: harness.phase("1") == labels.PHASE_RECORDED)
            await until(lambda: ("Job", "3-01jd") not in harness.cluster.objects)

    asyncio.run(scenario())


def test_a_record_that_cannot_be_handled_stops_no_resync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_of = housekeeping.jobs.record_of

    def broken(job: Manifest) -> Run | None:
        if job["metadata"]["name"] == "2-01jd":
            raise RuntimeError("unexpected")
        return record_of(job)

    monkeypatch.setattr(housekeeping.jobs, "record_of", broken)

    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            harness.record_unreleased("2")
            harness.record_unreleased("3")
            harness.operator.start()
            await until(lambda: harness.phase("1") == labels.PHASE_RECORDED)
            await until(lambda: ("Job", "3-01jd") not in harness.cluster.objects)

    asyncio.run(scenario())


def test_failed_retention_is_retried_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise asyncio.CancelledError

    async def unavailable(*_: object) -> None:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(housekeeping, "delete_before", unavailable)
    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            settings = OperatorSettings.from_environment({"ARCHIVE_DIR": f"{tmp_path}/archive"})
            with pytest.raises(asyncio.CancelledError):
                await housekeeping.apply_retention(open_storage(settings, stack), 90)

    asyncio.run(scenario())
    assert pauses == [60, 60]
