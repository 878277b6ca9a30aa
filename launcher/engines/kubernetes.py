"""The Kubernetes engine: a run is a suspended Job. The operator releases it, reads its log and records its outcome."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from weakref import WeakValueDictionary

from launcher.background import Tasks
from launcher.cluster import labels, manifests
from launcher.cluster.port import Cluster
from launcher.domain.days import StatusCounts
from launcher.domain.errors import ClusterUnavailable, ObjectExists, ObjectMissing, QueueFull, RunNotFound
from launcher.domain.queue_places import QueuePlace
from launcher.domain.runs import Run, newest, now, require_same_request
from launcher.engines.operator_liveness import OperatorLiveness
from launcher.engines.port import QueueState
from launcher.engines.queue_view import QueueView
from launcher.engines.run_history import RunHistory
from launcher.engines.run_lookup import RunLookup
from launcher.engines.tracked_cluster import TrackedCluster
from launcher.settings import Settings
from launcher.stores.ports import RunQuery
from launcher.wiring import Storage


class KubernetesEngine:
    """An `Engine` on Kubernetes."""

    def __init__(self, settings: Settings, cluster: Cluster, storage: Storage) -> None:
        self._settings, self._cluster = settings, TrackedCluster(cluster)
        self._lookup = RunLookup(self._cluster, storage, start_grace_seconds=settings.START_GRACE_SECONDS)
        self._queue = QueueView(self._cluster, self._lookup, storage.archive, limit=settings.MAX_CONCURRENCY)
        self._history = RunHistory(storage.history, storage.archive)
        self._operator = OperatorLiveness(cluster)
        self._creating: set[str] = set()
        self._keys = WeakValueDictionary[str, asyncio.Lock]()  # requests with the same key wait for each other
        self._tasks = Tasks()

    async def start(self) -> None:
        """See `Engine`. Also starts while the cluster is unavailable."""
        self._tasks.start(self._operator.run(), "operator liveness")
        self._tasks.start(self._queue.run(), "queue")

    async def stop(self) -> None:
        """See `Engine`. Runs continue without the launcher."""
        await self._tasks.stop()
        await self._cluster.close()

    async def submit(self, run: Run) -> Run:
        """See `Engine`."""
        if not run.idempotency_hash:
            return await self._create(run)
        async with self._keys.setdefault(run.idempotency_hash, asyncio.Lock()):
            with contextlib.suppress(RunNotFound):  # its Job may have been deleted
                return require_same_request(run, await self.get(run.run_id))
            if existing := await self._lookup.by_idempotency(run.idempotency_hash):
                return require_same_request(run, existing)
            return await self._create(run)

    async def _create(self, run: Run) -> Run:
        await self._queue.refresh()
        if self._queued() >= self._settings.MAX_QUEUED:
            raise QueueFull
        job = manifests.make_job(run, self._settings.pipelines[run.pipeline], self._settings)
        self._creating.add(run.run_id)
        try:
            self._queue.observe(await self._cluster.create("Job", job))
        except ObjectExists:
            return require_same_request(run, self._lookup.run_of(await self._cluster.get("Job", run.run_id)))
        finally:
            self._creating.discard(run.run_id)
        return run

    def _queued(self) -> int:
        """Return the number of waiting runs, including those that are being created."""
        waiting = self._queue.runs.waiting
        return len(waiting) + sum(run_id not in waiting for run_id in self._creating)

    async def get(self, run_id: str) -> Run:
        """See `Engine`."""
        return await self._lookup.get(run_id)

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """See `Engine`."""
        return await self._history.find(query, await self._queue.live())

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """See `Engine`."""
        return await self._history.count_between(edges, await self._queue.live())

    async def cancel(self, run_id: str) -> Run:
        """See `Engine`. Stores the request on the Job; the operator terminates the run."""
        run = await self.get(run_id)
        if run.status.terminal or run.cancel_requested:
            return run
        try:
            job = await self._cluster.patch("Job", run_id, manifests.cancel_patch(now()))
        except ObjectMissing:
            return await self.get(run_id)
        self._queue.observe(job)
        return newest(self._lookup.run_of(job), await self.get(run_id))

    async def place(self, run_id: str) -> QueuePlace | None:
        """See `Engine`."""
        return await self._queue.place(run_id, operator_down=self._operator.state == "away")

    def partial_line(self, run_id: str) -> str | None:
        """See `Engine`. The kubelet serves only complete lines."""
        return None

    async def pause(self, paused: bool) -> None:
        """See `Engine`. Stored in a ConfigMap."""
        await self._cluster.patch("ConfigMap", labels.QUEUE, manifests.pause_patch(paused))
        self._queue.expire()

    async def queue(self) -> QueueState:
        """See `Engine`."""
        with contextlib.suppress(ClusterUnavailable):
            await self._queue.refresh()
        return self.cached_queue()

    def cached_queue(self) -> QueueState:
        """See `Engine`."""
        runs = self._queue.runs
        return QueueState(
            active=len(runs.released),
            limit=self._settings.MAX_CONCURRENCY,
            queued=len(runs.waiting),
            paused=self._queue.paused,
            cluster="ok" if self._cluster.reachable else "away",
            operator=self._operator.state,
        )
