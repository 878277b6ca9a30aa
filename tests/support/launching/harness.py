"""One run on a fake cluster and its reconciler, with the real archive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from launcher.cluster import jobs, manifests
from launcher.cluster.port import Manifest
from launcher.domain.log_lines import LineKind, receipt_of
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run, now
from launcher.wiring import Recording, Storage, open_recording, open_storage
from launching.fake_cluster import FakeCluster, merged
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.run_reconciler import RunReconciler
from pipeline_operator.settings import OperatorSettings

NAME = "4711-01jd"
POD = f"{NAME}-x7k2p"
DEADLINE_EXCEEDED: Manifest = {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than …"}
FIRST_LINE = (LineKind.SYSTEM, b"Starting pipeline default for job 4711")


class Harness:
    """A run and its reconciler. The test acts as Kubernetes and as the users."""

    def __init__(self, folder: Path, stack: AsyncExitStack, **environ: str) -> None:
        self.settings = OperatorSettings.from_environment(
            {"ARCHIVE_DIR": f"{folder}/archive", "APPLICATIONS_DIR": f"{folder}/applications", **environ}
        )
        self.storage: Storage = open_storage(self.settings, stack)
        self.recording: Recording = open_recording(self.settings, self.storage)
        self.cache = ClusterCache()
        self.cluster = FakeCluster(self.cache)
        self.run = Run(run_id=NAME, job_id="4711", created_at=now(), updated_at=now())
        self.task: asyncio.Task[None] | None = None

    def make_job(self, **spec: Any) -> Manifest:
        """Create the run's Job as the launcher does, with changes to its spec."""
        job = manifests.make_job(self.run, Pipeline(), self.settings)
        return self.cluster.put("Job", merged(job, {"spec": spec}))

    async def start(self) -> None:
        """Start a reconciler, the first or the next one, and wait until the archive has the run."""
        found = self.storage.archive.get(NAME) or self.run
        job = self.cache.get(NAME).job
        uid = job["metadata"]["uid"] if job else None
        reconciler = RunReconciler(
            found, self.cluster, self.cache, self.storage, self.recording, self.settings, job_uid=uid
        )
        self.task = asyncio.create_task(reconciler.reconcile())
        await self.until(lambda: self.storage.archive.get(NAME))

    async def start_released(self) -> None:
        """Create the Job, start a reconciler, and release the Job."""
        self.make_job()
        await self.start()
        await self.release()

    async def start_running(self) -> None:
        """Like `start_released`, with a running pod."""
        await self.start_released()
        self.put_pod("Running", **running())

    async def kill(self) -> None:
        """Cancel the reconciler, whatever it is doing."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def release(self) -> None:
        await self.cluster.patch("Job", NAME, manifests.release_patch(self.job))

    async def cancel(self) -> None:
        await self.cluster.patch("Job", NAME, manifests.cancel_patch(now()))

    def put_pod(self, phase: str = "Pending", *, node: str | None = "node", **status: Any) -> None:
        """Update the pod as scheduler and kubelet do; create it the first time."""
        made: Manifest = {
            "metadata": {
                "name": POD,
                "labels": {
                    "slipway.dev/run": "true",
                    "batch.kubernetes.io/job-name": NAME,
                    "batch.kubernetes.io/controller-uid": self.job["metadata"]["uid"],
                },
                "ownerReferences": [
                    {"kind": "Job", "name": NAME, "uid": self.job["metadata"]["uid"], "controller": True}
                ],
            },
            "spec": {"activeDeadlineSeconds": 1200, "containers": [{"name": "pipeline", "image": "image"}]},
        }
        pod = self.cluster.objects.get(("Pod", POD), made)
        spec = {**pod["spec"], "nodeName": node} if node else pod["spec"]
        self.cluster.put("Pod", {**pod, "spec": spec, "status": {"phase": phase, **status}})

    def finish_job(self, condition: str) -> None:
        status = {"conditions": [{"type": condition, "status": "True"}]}
        self.cluster.put("Job", {**self.job, "status": status})

    @property
    def job(self) -> Manifest:
        return self.cluster.objects["Job", NAME]

    @property
    def archived(self) -> Run:
        """The run's record in the archive."""
        run = self.storage.archive.get(NAME)
        assert run is not None
        return run

    @property
    def lines(self) -> list[tuple[LineKind, bytes]]:
        return [(line.kind, line.data) for line in self.storage.archive.read(NAME, 0)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition; raise what the reconciler raises."""
        assert self.task is not None
        async with asyncio.timeout(4):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.005)

    async def end(self) -> Run:
        """Wait until the reconciler is done; return the run, which archive and Job agree on."""
        assert self.task is not None
        async with asyncio.timeout(4):
            await self.task
        run = self.archived
        assert run.status.terminal
        if ("Job", NAME) in self.cluster.objects:
            assert jobs.phase_of(self.job) == "recorded"
            assert jobs.record_of(self.job) == run
        if self.storage.archive.has_log(NAME):
            lines = self.storage.archive.read(NAME, 0)
            assert run.log == receipt_of(lines, complete=True)
        return run


def waiting(reason: str, message: str = "") -> Manifest:
    return container(waiting={"reason": reason, "message": message})


def running() -> Manifest:
    return container(running={"startedAt": f"{now():%Y-%m-%dT%H:%M:%SZ}"})


def ended(code: int) -> Manifest:
    moment = f"{now():%Y-%m-%dT%H:%M:%SZ}"
    reason = "Error" if code else "Completed"
    return container(terminated={"exitCode": code, "reason": reason, "startedAt": moment, "finishedAt": moment})


def container(**state: Manifest) -> Manifest:
    return {"containerStatuses": [{"name": "pipeline", "image": "image", "restartCount": 0, "state": state}]}


Scenario = Callable[[Harness], Awaitable[None]]
RunScenario = Callable[..., None]
"""Runs a scenario, with environment variables of the operator as keywords."""
