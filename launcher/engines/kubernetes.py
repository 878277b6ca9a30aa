"""The Kubernetes engine: a run is a suspended Job; the operator releases it, reads its log and records its end.

What a run is now is read from Redis, else from Kubernetes, else from the history. Kubernetes is asked for the queue at
most once a second, whoever looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from launcher.background import Tasks, contained, report
from launcher.cluster import jobs, labels, manifests
from launcher.cluster.port import Cluster, Manifest
from launcher.domain.admission import QueuePlace, place_of, typical_seconds
from launcher.domain.days import StatusCounts
from launcher.domain.errors import (
    ClusterError,
    ClusterUnavailable,
    IdempotencyConflict,
    ObjectExists,
    ObjectMissing,
    QueueFull,
    RunNotFound,
    StoreUnavailable,
)
from launcher.domain.names import is_run_id
from launcher.domain.runs import Run, RunStatus, now
from launcher.engines.operator_liveness import OperatorLiveness
from launcher.engines.port import QueueState
from launcher.engines.run_counts import RunCounts
from launcher.settings import Settings
from launcher.stores.ports import RunQuery, RunStore
from launcher.wiring import Storage

T = TypeVar("T")
_FRESH_SECONDS = 1.0
_AWAY_SECONDS = 5.0
"""For so long a store that did not answer is not asked again."""
_DURATIONS_SECONDS = 60.0
_REMEMBERED_DURATIONS = 20


@dataclass(frozen=True, kw_only=True)
class _Live:
    """The runs that have a Job without a record, as Kubernetes told at `at` (loop time)."""

    at: float
    waiting: Sequence[Run] = ()
    released: Sequence[Run] = ()
    paused: bool = False


class KubernetesEngine:
    """An `Engine` on a cluster."""

    def __init__(self, settings: Settings, cluster: Cluster, storage: Storage) -> None:
        self._settings, self._cluster, self._storage = settings, cluster, storage
        self._counts = RunCounts(storage.history, storage.archive)
        self._live = _Live(at=float("-inf"))
        self._asking = asyncio.Lock()
        self._reachable = True
        self._away_until: dict[int, float] = {}
        self._durations: Mapping[str, list[float]] = {}
        self._durations_at = float("-inf")
        self._operator = OperatorLiveness(cluster)
        self._tasks = Tasks()

    async def start(self) -> None:
        """See `Engine`. The cluster may be away: the launcher answers all the same."""
        self._tasks.start(self._operator.run(), "operator's heartbeat")

    async def stop(self) -> None:
        """See `Engine`. Runs go on without the launcher."""
        await self._tasks.stop()
        await self._cluster.close()

    async def submit(self, run: Run) -> Run:
        """See `Engine`."""
        if run.idempotency_hash:
            with contextlib.suppress(RunNotFound):  # its Job may have been forgotten already
                return _require_same_request(run, await self.get(run.run_id))
            selector = f"{labels.IDEMPOTENCY}={run.idempotency_hash[:63]}"
            for job in (await self._asked(self._cluster.list("Job", labels=selector))).items:
                return _require_same_request(run, self._run_of(job))
        live = await self._look()
        if len(live.waiting) >= self._settings.MAX_QUEUED:
            raise QueueFull
        pipeline = self._settings.pipelines[run.pipeline]
        try:
            await self._create(manifests.make_job(run, pipeline, self._settings))
        except ObjectExists:
            return _require_same_request(run, self._run_of(await self._asked(self._cluster.get("Job", run.run_id))))
        if all(run.run_id != there.run_id for there in (*self._live.waiting, *self._live.released)):
            self._live = replace(self._live, waiting=[*self._live.waiting, run])
        return run

    async def get(self, run_id: str) -> Run:
        """See `Engine`."""
        if not is_run_id(run_id):
            raise RunNotFound
        if run := await self._from(self._storage.shared, run_id):
            return run if run.status.terminal else _newest(run, self._storage.archive.get(run_id))
        away: ClusterUnavailable | None = None
        try:
            job = await self._asked(self._cluster.get("Job", run_id))
        except ObjectMissing:
            pass
        except ClusterUnavailable as exc:
            away = exc
        else:
            if labels.RUN in (job["metadata"].get("labels") or {}):
                return _newest(self._run_of(job), self._storage.archive.get(run_id))
        if run := self._storage.archive.get(run_id) or await self._from(self._storage.history, run_id):
            return run
        if away:
            raise away
        raise RunNotFound

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """See `Engine`. What the history does not know yet comes first."""
        live: list[Run] = []
        with contextlib.suppress(ClusterUnavailable):
            now_live = await self._look()
            live = [*now_live.waiting, *now_live.released]
        try:
            if self._storage.history is None:
                raise StoreUnavailable
            runs, total = await self._storage.history.find(query)
            known = set(await self._storage.history.revisions([run.run_id for run in live]))
        except StoreUnavailable:
            runs, total, known = await asyncio.to_thread(self._in_archive, query)
        except Exception:
            report("list", "the history cannot be listed; the archive is asked instead")
            runs, total, known = await asyncio.to_thread(self._in_archive, query)
        new = [run for run in live if run.run_id not in known and query.matches(run)]
        new.sort(key=lambda run: (run.created_at, run.run_id), reverse=True)
        if query.page == 1:
            runs = [*new, *runs]  # more than a page rather than to hide some between two pages
        return runs, total + len(new)

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """See `Engine`."""
        live: list[Run] = []
        with contextlib.suppress(ClusterUnavailable):
            now_live = await self._look()
            live = [*now_live.waiting, *now_live.released]
        return await self._counts.between(edges, live)

    async def cancel(self, run_id: str) -> Run:
        """See `Engine`. The wish is stored on the Job; the operator does it."""
        run = await self.get(run_id)
        if run.status.terminal or run.cancel_requested:
            return run
        try:
            job = await self._asked(self._cluster.patch("Job", run_id, manifests.cancel_patch(now())))
        except ObjectMissing:
            return await self.get(run_id)
        self._live = _Live(at=float("-inf"))
        return _newest(self._run_of(job), await self.get(run_id))

    async def place(self, run_id: str) -> QueuePlace | None:
        """See `Engine`. A run that has its slot and waits for its pod is at place 0."""
        try:
            live = await self._look()
        except ClusterUnavailable:
            live = self._live
        away = self._operator.state == "away"
        released = next((run for run in live.released if run.run_id == run_id), None)
        if released is not None:
            current = await self.get(run_id)
            if current.status is not RunStatus.QUEUED:
                return None
            if away:  # its pod is made and runs all the same
                why = "Its slot is free; the operator is away, and tells how the run goes once it is back."
                return QueuePlace(position=0, eta_seconds=None, why=why)
            why = current.waiting_for or "Its slot is free; the pod is being made."
            return QueuePlace(position=0, eta_seconds=0.0, why=why)
        if all(run.run_id != run_id for run in live.waiting):
            return None
        with contained("durations", "how long runs last cannot be learned"):
            await self._learn_durations()
        at = now()
        remaining = []
        for run in live.released:
            current = _newest(run, self._storage.archive.get(run.run_id))
            typical = typical_seconds(self._durations.get(run.pipeline, []), 0.0) or 0.0
            remaining.append(max(0.0, typical - (at - (current.started_at or at)).total_seconds()))
        waiting = next(run for run in live.waiting if run.run_id == run_id)
        return place_of(
            run_id,
            live.waiting,
            remaining=remaining,
            typical=typical_seconds(self._durations.get(waiting.pipeline, [])),
            limit=self._settings.MAX_CONCURRENCY,
            paused=live.paused,
            operator_away=away,
        )

    def unfinished(self, run_id: str) -> str | None:
        """See `Engine`. The kubelet gives whole lines alone."""
        return None

    async def pause(self, paused: bool) -> None:
        """See `Engine`. ResumePoint in a ConfigMap."""
        await self._asked(self._cluster.patch("ConfigMap", labels.QUEUE, manifests.pause_patch(paused)))
        self._live = _Live(at=float("-inf"))

    async def queue(self) -> QueueState:
        """See `Engine`."""
        with contextlib.suppress(ClusterUnavailable):
            await self._look()
        return self.known()

    def known(self) -> QueueState:
        """See `Engine`."""
        return QueueState(
            active=len(self._live.released),
            limit=self._settings.MAX_CONCURRENCY,
            queued=len(self._live.waiting),
            paused=self._live.paused,
            cluster="ok" if self._reachable else "away",
            operator=self._operator.state,
        )

    async def _look(self) -> _Live:
        loop = asyncio.get_running_loop()
        async with self._asking:
            if loop.time() - self._live.at < _FRESH_SECONDS:
                return self._live
            listed = await self._asked(self._cluster.list("Job", labels=labels.LIVE_SELECTOR))
            waiting, released = [], []
            for job in listed.items:
                run = self._run_of(job)
                if jobs.phase_of(job) == labels.PHASE_QUEUED:
                    waiting.append(run)
                elif not jobs.finished_condition(job):
                    released.append(run)
            paused = False
            with contextlib.suppress(ObjectMissing):
                switch = await self._asked(self._cluster.get("ConfigMap", labels.QUEUE))
                paused = (switch.get("data") or {}).get("paused") == "true"
            self._live = _Live(at=loop.time(), waiting=waiting, released=released, paused=paused)
            return self._live

    async def _asked(self, call: Awaitable[T]) -> T:
        """Ask the cluster, and note whether it answers."""
        try:
            answer = await call
        except ClusterUnavailable:
            self._reachable = False
            raise
        except ClusterError:
            self._reachable = True
            raise
        self._reachable = True
        return answer

    async def _create(self, job: Manifest) -> None:
        await self._asked(self._cluster.create("Job", job))

    async def _from(self, store: RunStore | None, run_id: str) -> Run | None:
        """Ask a store, unless it did not answer a moment ago."""
        loop = asyncio.get_running_loop()
        if store is None or loop.time() < self._away_until.get(id(store), 0.0):
            return None
        try:
            return await store.get(run_id)
        except StoreUnavailable:
            self._away_until[id(store)] = loop.time() + _AWAY_SECONDS
            return None
        except Exception:  # what one store has wrong, another may have right
            report("get", f"run {run_id} cannot be read from a store")
            return None

    def _in_archive(self, query: RunQuery) -> tuple[list[Run], int, set[str]]:
        runs = list(self._storage.archive.runs())
        found = sorted((r for r in runs if query.matches(r)), key=lambda r: (r.created_at, r.run_id), reverse=True)
        start = (query.page - 1) * query.per_page
        return found[start : start + query.per_page], len(found), {run.run_id for run in runs}

    async def _learn_durations(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._durations_at < _DURATIONS_SECONDS:
            return
        self._durations_at = loop.time()
        ended = await asyncio.to_thread(
            lambda: [run for run in self._storage.archive.runs() if run.status is RunStatus.COMPLETED]
        )
        durations: dict[str, list[float]] = {}
        for run in sorted(ended, key=lambda run: run.created_at):
            if run.started_at and run.completed_at:
                durations.setdefault(run.pipeline, []).append((run.completed_at - run.started_at).total_seconds())
        self._durations = {name: found[-_REMEMBERED_DURATIONS:] for name, found in durations.items()}

    def _run_of(self, job: Manifest) -> Run:
        return jobs.run_of(job, start_grace_seconds=self._settings.START_GRACE_SECONDS)


def _newest(run: Run, other: Run | None) -> Run:
    return other if other is not None and other.revision > run.revision else run


def _require_same_request(asked: Run, found: Run) -> Run:
    if found.request_hash != asked.request_hash:
        raise IdempotencyConflict
    return found
