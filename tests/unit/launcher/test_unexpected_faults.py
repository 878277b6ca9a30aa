"""Each call of a store, the archive, the files or the cluster fails once with an unexpected exception.

Afterwards every run has finished, every stream has ended, every store has every outcome, and every loop still runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher import recorder
from launcher.api.schemas import view
from launcher.artifacts import ArtifactFolder
from launcher.cluster import labels, manifests
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run, RunStatus, now
from launcher.engines.local import LocalEngine
from launcher.logs import feed, publisher
from launcher.logs.hub import FeedHub
from launcher.logs.publisher import Publisher
from launcher.mirror import Mirror
from launcher.recorder import Recorder
from launcher.settings import Settings, SharedSettings
from launcher.stores import watch
from launcher.stores.archive import Archive
from launcher.stores.log_file import LogWriter
from launcher.stores.memory import InMemoryLogTail, InMemoryRunStore, InMemoryWorkItems
from launcher.stores.watch import StoreWatch
from launcher.wiring import Recording, Storage
from launching.fake_cluster import FakeCluster, merged
from launching.fake_kubelet import FakeKubelet
from launching.faults import Faults, UnexpectedFault
from pipeline_operator import admission, backoff, resync, run_reconciler
from pipeline_operator.app import Operator
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.settings import OperatorSettings

PIPELINES: dict[str, dict[str, Any]] = {
    "quick": {"command": ["/bin/echo", "a line"], "artifacts": {}},
    "lasting": {"command": ["/bin/sleep", "60"], "artifacts": {}},
}
STORES = {
    "store": ["put", "revisions", "ping"],
    "items": ["mark"],
    "tail": ["publish", "last_number", "read", "finish"],
}
STORE_TASKS = {"watch redis", "watch mongodb", "mirror redis", "mirror mongodb", "reconcile stores"}
ARCHIVE = ["put", "get", "runs", "writer", "last_number", "read"]
LOG = ["append", "receipt", "close"]
FILES = ["make", "discover", "excess"]


def targets(*more: str, **kinds: list[str]) -> list[tuple[str, int]]:
    names = [f"{name}.{method}" for name, methods in kinds.items() for method in methods]
    return [(name, nth) for name in [*names, *more] for nth in (1, 2)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every pause, so that all rounds happen within a second."""
    for module, name, seconds in (
        (recorder, "RECONCILE_INTERVAL_SECONDS", 0.05),
        (watch, "PING_INTERVAL_SECONDS", 0.02),
        (recorder, "_RETRY_SECONDS", 0.01),
        (publisher, "_RETRY_SECONDS", 0.01),
        (feed, "_WAIT_SECONDS", 0.02),
        (feed, "_TAIL_DOWN_POLL_SECONDS", 0.01),
        (admission, "_TICK_SECONDS", 0.05),
        (admission, "_RETRY_SECONDS", 0.01),
        (resync, "RESYNC_SECONDS", 0.05),
        (resync, "_RETRY_SECONDS", 0.02),
        (backoff, "RETRY_SECONDS", 0.01),
        (run_reconciler, "_REFRESH_SECONDS", 0.05),
    ):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(admission, "_NO_BACKOFF", admission._NO_BACKOFF._replace(pause=0.01))


class Stores:
    """The real archive and files, and in-memory stores instead of Redis and MongoDB. Calls are counted and can fail."""

    def __init__(self, folder: Path, settings: SharedSettings, faults: Faults, stack: AsyncExitStack) -> None:
        archive, tail = Archive(settings.ARCHIVE_DIR), InMemoryLogTail(50)
        files = ArtifactFolder(settings.APPLICATIONS_DIR)
        stack.callback(files.close)
        self.items = InMemoryWorkItems({name: {} for name in ("1", "2", "3")})
        self.mirrored = [InMemoryRunStore(), InMemoryRunStore()]
        names = ("redis", "mongodb")
        watches = {name: StoreWatch(name, store) for name, store in zip(names, self.mirrored, strict=True)}
        mirrors = [
            Mirror(watches["redis"], retention=timedelta(days=1)),
            Mirror(watches["mongodb"], items=self.items),
        ]
        make_writer = archive.writer

        def writer(run_id: str) -> LogWriter:
            made = make_writer(run_id)
            faults.watch(made, "log", LOG)
            return made

        archive.writer = writer  # type: ignore[method-assign]
        faults.watch(archive, "archive", ARCHIVE)
        faults.watch(files, "files", FILES)
        faults.watch(tail, "tail", STORES["tail"])
        faults.watch(self.items, "items", STORES["items"])
        for store in self.mirrored:
            faults.watch(store, "store", STORES["store"])
        self.storage = Storage(archive=archive, artifacts=files, tail=tail, shared=None, history=None, watches=watches)
        self.recording = Recording(recorder=Recorder(archive, mirrors), publisher=Publisher(archive, tail, 50))
        self.storage.start_watches(stack)
        self.recording.start(stack)

    async def wait_for_every_outcome(self, *run_ids: str) -> None:
        """Wait until archive and stores agree on every run's outcome."""
        async with asyncio.timeout(30):
            for run_id in run_ids:
                while True:
                    record = self.storage.archive.get(run_id)
                    terminal = record is not None and record.status.terminal
                    if terminal and all([await store.get(run_id) == record for store in self.mirrored]):
                        break
                    await asyncio.sleep(0.01)


def requested(name: str, pipeline: str = "default") -> Run:
    return Run(run_id=f"{name}-01jd", job_id=name, pipeline=pipeline, created_at=now(), updated_at=now())


def task_names() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize(
    ("target", "nth"), targets(archive=ARCHIVE, log=LOG, files=FILES, **STORES), ids=lambda each: str(each)
)
def test_on_the_local_engine_one_fault_stops_no_loop_and_every_run_finishes(
    tmp_path: Path, target: str, nth: int
) -> None:
    pipelines = tmp_path / "pipelines.yaml"
    pipelines.write_text(yaml.safe_dump(PIPELINES))
    settings = Settings.from_environment(
        {
            "RUNNER_API_SECRET": "0123456789abcdef0123456789abcdef",
            "ARCHIVE_DIR": f"{tmp_path}/archive",
            "APPLICATIONS_DIR": f"{tmp_path}/applications",
            "PIPELINES_FILE": str(pipelines),
            "PIPELINE_DIR": str(tmp_path),
            "TERMINATION_GRACE_SECONDS": "0",
        }
    )
    faults = Faults(target, nth)

    @asynccontextmanager
    async def started() -> AsyncIterator[tuple[Stores, LocalEngine]]:
        async with AsyncExitStack() as stack:
            stores = Stores(tmp_path, settings, faults, stack)
            engine = LocalEngine(settings, stores.storage, stores.recording, os.environ)
            stack.push_async_callback(engine.stop)
            try:
                await engine.start()
            except UnexpectedFault:  # the process exits with a message, and its supervisor restarts it
                await engine.start()
            yield stores, engine

    async def watch(engine: LocalEngine, stores: Stores, run_id: str) -> bytes:
        async def read_status(run_id: str) -> dict[str, Any]:
            return view(await engine.get(run_id), await engine.place(run_id))

        hub = FeedHub(stores.storage.archive, stores.storage.tail, read_status)
        return b"".join([event async for event in hub.events(run_id, 0)])

    async def scenario() -> None:
        async with started() as (stores, engine):  # a pause of the queue leaves one run for the next launcher
            await engine.pause(True)
            await submit(engine, requested("1", "quick"))
        async with started() as (stores, engine):
            await engine.pause(False)
            lasting = await submit(engine, requested("2", "lasting"))
            quick = await submit(engine, requested("3", "quick"))
            while (await engine.get(lasting.run_id)).status is RunStatus.QUEUED:
                await asyncio.sleep(0.01)
            await engine.cancel(lasting.run_id)
            for run_id in ("1-01jd", lasting.run_id, quick.run_id):
                events = await watch(engine, stores, run_id)
                assert b"event: end\n" in events
            await stores.wait_for_every_outcome("1-01jd", lasting.run_id, quick.run_id)
            assert faults.happened
            assert task_names() >= {*STORE_TASKS, "retention"}
            assert (await engine.queue()).active == 0
            assert (await engine.get(lasting.run_id)).status in (RunStatus.CANCELLED, RunStatus.FAILED)

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


async def submit(engine: LocalEngine, run: Run) -> Run:
    """Launch a run as a client does: try again after an error."""
    try:
        return await engine.submit(run)
    except Exception:
        return await engine.submit(run)


NEVER = {("tail.read", 1), ("tail.read", 2), ("cluster.delete", 2)}
"""The operator reads no tail, and deletes one Job here."""
CLUSTER = ["get", "list", "patch", "delete", "log"]


@pytest.mark.parametrize(
    ("target", "nth"),
    [each for each in targets(archive=ARCHIVE, log=LOG, files=FILES, cluster=CLUSTER, **STORES) if each not in NEVER],
    ids=lambda each: str(each),
)
def test_on_kubernetes_one_fault_stops_no_loop_and_every_run_finishes(tmp_path: Path, target: str, nth: int) -> None:
    settings = OperatorSettings.from_environment(
        {"ARCHIVE_DIR": f"{tmp_path}/archive", "APPLICATIONS_DIR": f"{tmp_path}/applications"}
    )
    faults = Faults(target, nth)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            cluster = FakeCluster(ClusterCache())
            cluster.put("ConfigMap", {"metadata": {"name": labels.QUEUE}, "data": {}})
            cluster.put("Lease", {"metadata": {"name": labels.LEASE}})
            stores = Stores(tmp_path, settings, faults, stack)
            operator = Operator(cluster, stores.storage, stores.recording, settings)
            cluster.cache = operator
            runs = [requested(name) for name in ("1", "2", "3")]
            kubelet = asyncio.create_task(FakeKubelet(cluster, frozenset({runs[1].run_id})).run())
            stack.callback(kubelet.cancel)
            for run in (*runs, unwanted := requested("4")):
                cluster.put("Job", manifests.make_job(run, Pipeline(), settings))
            cancel(cluster, unwanted.run_id)  # in the queue: its Job is deleted
            faults.watch(cluster, "cluster", CLUSTER)
            operator.start()
            stack.push_async_callback(operator.stop)
            lasting = runs[1].run_id
            while "running" not in str((stores.storage.archive.get(lasting) or runs[1]).status):
                await asyncio.sleep(0.01)
            cancel(cluster, lasting)
            await stores.wait_for_every_outcome(*(run.run_id for run in (*runs, unwanted)))
            while ("Job", unwanted.run_id) in cluster.objects:
                await asyncio.sleep(0.01)
            for run in runs:
                while cluster.objects["Job", run.run_id]["metadata"]["labels"][labels.PHASE] != labels.PHASE_RECORDED:
                    await asyncio.sleep(0.01)
            assert faults.happened
            assert not kubelet.done()
            tasks = {*STORE_TASKS, "resync", "admission", "retention"}
            assert task_names() >= {*tasks, "heartbeat"}
            record = stores.storage.archive.get(lasting)
            assert record is not None and record.status in (RunStatus.CANCELLED, RunStatus.FAILED)

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def cancel(cluster: FakeCluster, name: str) -> None:
    cluster.put("Job", merged(cluster.objects["Job", name], manifests.cancel_patch(now())))
