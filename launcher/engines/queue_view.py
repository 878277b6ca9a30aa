"""The queue on the Kubernetes engine: the live runs and their places.

A watch keeps the view up to date, so its cost follows the changes. While there is no watch, for example after an
outage, the Jobs are listed on demand.
"""

from __future__ import annotations

import asyncio
import contextlib

from launcher.background import repeat, suppress_and_report
from launcher.cluster import jobs, labels
from launcher.cluster.port import Manifest
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectMissing
from launcher.domain.queue_places import OPERATOR_DOWN_WITH_SLOT, Durations, QueuePlace, place_of
from launcher.domain.run_queue import RunQueue
from launcher.domain.runs import Run, RunStatus, newest, now
from launcher.engines.run_lookup import RunLookup
from launcher.engines.tracked_cluster import TrackedCluster
from launcher.stores.archive import Archive

_FRESH_SECONDS = 1.0
_DURATIONS_SECONDS = 60.0
_WATCH_AGAIN_SECONDS = 1.0
_WATCH_RETRY_SECONDS = 5.0
_NEVER = float("-inf")


class LiveRuns:
    """The runs whose Job has no final record: those that wait, and those that were released."""

    def __init__(self) -> None:
        self.waiting = RunQueue()
        self.released: dict[str, Run] = {}

    def put(self, run: Run, job: Manifest) -> None:
        """Store a run according to its Job."""
        self.discard(run.run_id)
        if jobs.phase_of(job) == labels.PHASE_QUEUED:
            self.waiting.add(run)
        elif not jobs.finished_condition(job):
            self.released[run.run_id] = run

    def discard(self, run_id: str) -> None:
        """Remove a run."""
        self.waiting.discard(run_id)
        self.released.pop(run_id, None)


class QueueView:
    """Shows the queue. `refresh` reads little, and at most once a second."""

    def __init__(self, cluster: TrackedCluster, lookup: RunLookup, archive: Archive, *, limit: int) -> None:
        self._cluster, self._lookup, self._archive, self._limit = cluster, lookup, archive, limit
        self.runs = LiveRuns()
        self.paused = False
        self._version = 0  # of the cluster; the view has all changes up to it
        self._watching = False
        self._refreshed_at = _NEVER
        self._refreshing = asyncio.Lock()
        self._active: list[Run] = []
        self._active_at = _NEVER
        self._durations = Durations()
        self._durations_at = _NEVER

    async def run(self) -> None:
        """Keep the view up to date."""
        await repeat(
            "queue",
            self._watch,
            every_seconds=_WATCH_AGAIN_SECONDS,
            expected=(ClusterError,),
            retry_seconds=_WATCH_RETRY_SECONDS,
        )

    async def refresh(self) -> None:
        """Bring the view up to date, unless that was done within the last second. Raises `ClusterUnavailable`."""
        loop = asyncio.get_running_loop()
        async with self._refreshing:
            if loop.time() - self._refreshed_at >= _FRESH_SECONDS:
                if not self._watching:
                    await self._list()
                self.paused = await self._read_switch()
                self._refreshed_at = loop.time()

    async def live(self) -> list[Run]:
        """Return the live runs; an empty list while Kubernetes does not answer."""
        try:
            await self.refresh()
        except ClusterUnavailable:
            return []
        return [*self.runs.waiting, *self.runs.released.values()]

    def observe(self, job: Manifest, *, deleted: bool = False) -> None:
        """Update the view with a Job, unless the view already has this change or a later one."""
        if int(job["metadata"]["resourceVersion"]) <= self._version:
            return
        if deleted:
            self.runs.discard(jobs.name_of(job))
        else:
            self.runs.put(self._lookup.run_of(job), job)
        self._active_at = _NEVER

    def expire(self) -> None:
        """Read the switch again on the next call, because it has changed."""
        self._refreshed_at = _NEVER

    async def place(self, run_id: str, *, operator_down: bool) -> QueuePlace | None:
        """Return a waiting run's place. A run that has a slot and waits for its pod has position 0."""
        with contextlib.suppress(ClusterUnavailable):
            await self.refresh()
        if run_id in self.runs.released:
            return _place_with_slot(await self._lookup.get(run_id), operator_down)
        if run_id not in self.runs.waiting:
            return None
        with suppress_and_report("run history", "cannot read the durations of past runs"):
            await self._refresh_durations()
        return place_of(
            run_id,
            self.runs.waiting,
            active=self._active_runs(),
            durations=self._durations,
            at=now(),
            limit=self._limit,
            paused=self.paused,
            operator_down=operator_down,
        )

    async def _watch(self) -> None:
        """List the Jobs, then follow their changes until the API server ends the watch."""
        async with self._refreshing:
            await self._list()
        try:
            async with self._cluster.watch("Job", labels=labels.LIVE_SELECTOR, since=self._version) as events:
                self._watching = True
                async for event in events:
                    self.observe(event.object, deleted=event.deleted)
                    self._version = max(self._version, int(event.object["metadata"]["resourceVersion"]))
        finally:
            self._watching = False

    async def _list(self) -> None:
        found, version = LiveRuns(), 0
        async for page in self._cluster.pages("Job", labels=labels.LIVE_SELECTOR):
            version = page.version
            for job in page.items:
                found.put(self._lookup.run_of(job), job)
        if self._watching and version < self._version:  # a watch has started meanwhile, and is ahead of this list
            return
        self.runs, self._version, self._active_at = found, version, _NEVER

    async def _read_switch(self) -> bool:
        with contextlib.suppress(ObjectMissing):
            switch = await self._cluster.get("ConfigMap", labels.QUEUE)
            return (switch.get("data") or {}).get("paused") == "true"
        return False

    def _active_runs(self) -> list[Run]:
        """Return the released runs as last recorded. They are read once for all places that are asked for together."""
        at = asyncio.get_running_loop().time()
        if at - self._active_at >= _FRESH_SECONDS:
            self._active = [newest(run, self._archive.get(run.run_id)) for run in self.runs.released.values()]
            self._active_at = at
        return self._active

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
