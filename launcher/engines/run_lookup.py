"""Looks up one run on the Kubernetes engine: in Redis, then Kubernetes, then the archive and MongoDB."""

from __future__ import annotations

import asyncio

from launcher.background import report_exception
from launcher.cluster import jobs, labels
from launcher.cluster.port import Manifest
from launcher.domain.errors import ClusterUnavailable, ObjectMissing, RunNotFound, StoreUnavailable
from launcher.domain.names import is_run_id
from launcher.domain.runs import Run, newest
from launcher.engines.tracked_cluster import TrackedCluster
from launcher.stores.ports import RunStore
from launcher.wiring import Storage

_SKIPPED_SECONDS = 5.0
"""How long a store that did not answer is skipped."""


class RunLookup:
    """Returns the current state of a run from the first place that has it."""

    def __init__(self, cluster: TrackedCluster, storage: Storage, *, start_grace_seconds: int) -> None:
        self._cluster, self._storage = cluster, storage
        self._start_grace_seconds = start_grace_seconds
        self._skipped_until: dict[int, float] = {}

    async def get(self, run_id: str) -> Run:
        """Return a run. Raises `RunNotFound`, or `ClusterUnavailable` if only Kubernetes may have the run."""
        if not is_run_id(run_id):
            raise RunNotFound
        if run := await self._read(self._storage.shared, run_id):
            return run if run.status.terminal else newest(run, self._storage.archive.get(run_id))
        unavailable: ClusterUnavailable | None = None
        try:
            if run := await self._in_cluster(run_id):
                return newest(run, self._storage.archive.get(run_id))
        except ClusterUnavailable as exc:
            unavailable = exc
        if run := self._storage.archive.get(run_id) or await self._read(self._storage.history, run_id):
            return run
        raise unavailable or RunNotFound

    async def by_idempotency(self, idempotency_hash: str) -> Run | None:
        """Return the run of the live Job with this Idempotency-Key; None if there is none."""
        selector = f"{labels.IDEMPOTENCY}={idempotency_hash[:63]}"
        for job in (await self._cluster.list("Job", labels=selector)).items:
            return self.run_of(job)
        return None

    def run_of(self, job: Manifest) -> Run:
        """Return the run of a Job."""
        return jobs.run_of(job, start_grace_seconds=self._start_grace_seconds)

    async def _in_cluster(self, run_id: str) -> Run | None:
        try:
            job = await self._cluster.get("Job", run_id)
        except ObjectMissing:
            return None
        return self.run_of(job) if labels.RUN in (job["metadata"].get("labels") or {}) else None

    async def _read(self, store: RunStore | None, run_id: str) -> Run | None:
        """Read a run from a store; None if the store has not answered recently."""
        loop = asyncio.get_running_loop()
        if store is None or loop.time() < self._skipped_until.get(id(store), 0.0):
            return None
        try:
            return await store.get(run_id)
        except StoreUnavailable:
            self._skipped_until[id(store)] = loop.time() + _SKIPPED_SECONDS
        except Exception:  # another store may have a readable record
            report_exception("run lookup", f"run {run_id}: cannot read it from a store")
        return None
