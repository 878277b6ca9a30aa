"""The Kubernetes engine on a fake cluster, with stores that count their reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from launcher.cluster import labels, manifests
from launcher.cluster.port import Manifest
from launcher.domain.errors import (
    ClusterUnavailable,
    StoreUnavailable,
)
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import completed
from launcher.domain.runs import Run, now
from launcher.engines.kubernetes import KubernetesEngine
from launcher.settings import Settings
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.ports import RunQuery
from launcher.wiring import Storage, open_storage
from launching.fake_cluster import FakeCluster, merged
from pipeline_operator.cluster_cache import ClusterCache


class CountedStore(InMemoryRunStore):
    """Counts its reads, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.fault = 0, False

    async def get(self, run_id: str) -> Run | None:
        self.reads += 1
        if self.fault:
            raise StoreUnavailable("down")
        return await super().get(run_id)

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        if self.fault:
            raise StoreUnavailable("down")
        return await super().find(query)


class Harness:
    """An engine, its cluster and its stores."""

    def __init__(self, folder: Path, stack: AsyncExitStack, **environ: str) -> None:
        self.settings = Settings.from_environment(
            {
                "RUNNER_API_SECRET": "0123456789abcdef0123456789abcdef",
                "ENGINE": "kubernetes",
                "ARCHIVE_DIR": f"{folder}/archive",
                "APPLICATIONS_DIR": f"{folder}/applications",
                **environ,
            }
        )
        self.cluster = FakeCluster(ClusterCache())
        self.cluster.put("ConfigMap", {"metadata": {"name": labels.QUEUE}, "data": {}})
        self.redis, self.history = CountedStore(), CountedStore()
        self.storage: Storage = replace(open_storage(self.settings, stack), shared=self.redis, history=self.history)
        self.engine = KubernetesEngine(self.settings, self.cluster, self.storage)

    def release(self, run_id: str) -> None:
        job = self.cluster.objects["Job", run_id]
        self.cluster.put("Job", merged(job, manifests.release_patch(job)))

    def start_outage(self, times: int = 9) -> None:
        """Make the next calls of each kind to Kubernetes fail."""
        for call in ("get", "list", "create", "patch"):
            self.cluster.faults[call] = [ClusterUnavailable() for _ in range(times)]

    def end_outage(self) -> None:
        self.cluster.faults.clear()


def requested(name: str, **fields: object) -> Run:
    values = {"run_id": f"{name}-01jd", "job_id": name, "created_at": now(), "updated_at": now(), **fields}
    return Run(**values)  # type: ignore[arg-type]


def keyed(name: str, request: str = "r") -> Run:
    return requested(name, idempotency_hash="ab" * 32, request_hash=request)


def finished(run: Run, seconds: float = 10.0) -> Run:
    at = now()
    return run.started(at - timedelta(seconds=seconds)).finished(completed(), at, Receipt())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def counts(harness: Harness) -> tuple[int, int]:
    """The numbers of released and of waiting runs."""
    state = harness.engine.cached_queue()
    return state.active, state.queued


def record(harness: Harness, run_id: str) -> None:
    """Write a final record to a Job, as the operator does."""
    job = harness.cluster.objects["Job", run_id]
    run = finished(requested(run_id.removesuffix("-01jd")))
    harness.cluster.put("Job", merged(job, manifests.record_patch(job, run, 60)))


async def submitted(harness: Harness, run: Run) -> Run:
    """Submit a run as soon as Kubernetes answers."""
    while True:
        try:
            return await harness.engine.submit(run)
        except ClusterUnavailable:
            await asyncio.sleep(0.005)


def run_scenario(folder: Path, scenario: Callable[[Harness], Awaitable[None]], **environ: str) -> None:
    async def bounded() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(20):
            harness = Harness(folder, stack, **environ)
            await scenario(harness)

    asyncio.run(bounded())


def make_job(harness: Harness, name: str) -> Manifest:
    return manifests.make_job(requested(name), harness.settings.pipelines["default"], harness.settings)
