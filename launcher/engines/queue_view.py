"""The queue on the Kubernetes engine: the live runs, from the API server, and their places."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from launcher.background import suppress_and_report
from launcher.cluster import jobs, labels
from launcher.domain.errors import ClusterUnavailable, ObjectMissing
from launcher.domain.queue_places import OPERATOR_DOWN_WITH_SLOT, Durations, QueuePlace, place_of
from launcher.domain.runs import Run, RunStatus, newest, now
from launcher.engines.run_lookup import RunLookup
from launcher.engines.tracked_cluster import TrackedCluster
from launcher.stores.archive import Archive

_FRESH_SECONDS = 1.0
_DURATIONS_SECONDS = 60.0
_NEVER = float("-inf")


@dataclass(frozen=True, kw_only=True)
class LiveRuns:
    """The runs whose Job has no final record, as listed at loop time `at`."""

    at: float = _NEVER
    waiting: Sequence[Run] = ()
    released: Sequence[Run] = ()
    paused: bool = False

    @property
    def all(self) -> list[Run]:
        """Waiting and released runs."""
        return [*self.waiting, *self.released]


class QueueView:
    """Shows the queue. Lists Jobs at most once a second, however many callers there are."""

    def __init__(self, cluster: TrackedCluster, lookup: RunLookup, archive: Archive, *, limit: int) -> None:
        self._cluster, self._lookup, self._archive, self._limit = cluster, lookup, archive, limit
        self.last = LiveRuns()
        """The latest list, of any age."""
        self._listing = asyncio.Lock()
        self._durations = Durations()
        self._durations_at = _NEVER

    async def current(self) -> LiveRuns:
        """Return the live runs, at most a second old. Raises `ClusterUnavailable`."""
        loop = asyncio.get_running_loop()
        async with self._listing:
            if loop.time() - self.last.at >= _FRESH_SECONDS:
                self.last = replace(await self._list(), at=loop.time())
            return self.last

    async def live(self) -> list[Run]:
        """Return the live runs; an empty list while Kubernetes does not answer."""
        try:
            return (await self.current()).all
        except ClusterUnavailable:
            return []

    def add(self, run: Run) -> None:
        """Add a run that was created after the latest list."""
        if all(run.run_id != live.run_id for live in self.last.all):
            self.last = replace(self.last, waiting=[*self.last.waiting, run])

    def expire(self) -> None:
        """List again on the next call, because something has changed."""
        self.last = replace(self.last, at=_NEVER)

    async def place(self, run_id: str, *, operator_down: bool) -> QueuePlace | None:
        """Return a waiting run's place. A run that has a slot and waits for its pod has position 0."""
        live = self.last
        with contextlib.suppress(ClusterUnavailable):
            live = await self.current()
        if any(run.run_id == run_id for run in live.released):
            return _place_with_slot(await self._lookup.get(run_id), operator_down)
        if all(run.run_id != run_id for run in live.waiting):
            return None
        with suppress_and_report("run history", "cannot read the durations of past runs"):
            await self._refresh_durations()
        return place_of(
            run_id,
            live.waiting,
            active=[newest(run, self._archive.get(run.run_id)) for run in live.released],
            durations=self._durations,
            at=now(),
            limit=self._limit,
            paused=live.paused,
            operator_down=operator_down,
        )

    async def _list(self) -> LiveRuns:
        listed = await self._cluster.list("Job", labels=labels.LIVE_SELECTOR)
        waiting, released = [], []
        for job in listed.items:
            run = self._lookup.run_of(job)
            if jobs.phase_of(job) == labels.PHASE_QUEUED:
                waiting.append(run)
            elif not jobs.finished_condition(job):
                released.append(run)
        paused = False
        with contextlib.suppress(ObjectMissing):
            switch = await self._cluster.get("ConfigMap", labels.QUEUE)
            paused = (switch.get("data") or {}).get("paused") == "true"
        return LiveRuns(waiting=waiting, released=released, paused=paused)

    async def _refresh_durations(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._durations_at >= _DURATIONS_SECONDS:
            self._durations_at = loop.time()
            self._durations = await asyncio.to_thread(lambda: Durations(self._archive.runs()))


def _place_with_slot(run: Run, operator_down: bool) -> QueuePlace | None:
    if run.status is not RunStatus.QUEUED:
        return None
    if operator_down:  # Kubernetes runs its pod without the operator
        why = OPERATOR_DOWN_WITH_SLOT
        return QueuePlace(position=0, eta_seconds=None, why=why)
    return QueuePlace(position=0, eta_seconds=0.0, why=run.waiting_for or "It has a slot. Its pod is being created.")
