"""Admission: releases waiting Jobs in queue order as slots become free, within the quota."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from launcher.background import repeat, report_exception
from launcher.cluster import jobs, labels, manifests
from launcher.cluster.port import Cluster
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectChanged, ObjectMissing
from launcher.domain.run_queue import RunQueue
from launcher.domain.runs import Run, now
from launcher.metrics import ACTIVE_RUNS, QUEUED_RUNS
from pipeline_operator.cluster_cache import ClusterCache

_TICK_SECONDS = 5.0
_PAUSE_SECONDS = 0.02  # a burst of changes costs one round per pause
_EVICTION_SECONDS = 20.0
"""How long nothing is released after a node evicted a run. For up to ten seconds, the kubelet rejects new pods, which
ends their runs, before its taint makes the scheduler hold them back."""
_RETRY_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 30.0
log = logging.getLogger(__name__)


class _Backoff(NamedTuple):
    """When to retry a run that could not be released, and the pause before that, in seconds."""

    until: float
    pause: float


_NO_BACKOFF = _Backoff(float("-inf"), 1.0)


class Admission:
    """Releases the runs of a queue. Its owner removes them from it. Calls `prepare` before each release.

    A round costs the same whatever the length of the queue.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: ClusterCache,
        *,
        limit: int,
        queue: RunQueue,
        prepare: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = now,
    ) -> None:
        self._cluster, self._cache = cluster, cache
        self._limit, self._queue, self._prepare, self._clock, self._now = limit, queue, prepare, clock, now
        self._backoffs: dict[str, _Backoff] = {}

    async def run(self) -> None:
        """Admit after each change in the cluster, and every few seconds."""
        await repeat("admission", self._round, expected=(ClusterUnavailable,), retry_seconds=_RETRY_SECONDS)

    async def _round(self) -> None:
        self._cache.changed.clear()
        await self.admit()
        await asyncio.sleep(_PAUSE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICK_SECONDS):
                await self._cache.changed.wait()

    async def admit(self) -> None:
        """Release one run for each free slot.

        Slots in use are counted from the cache. The quota is read from the API server, and must also have room for pods
        of released runs that do not exist yet. The queue's ConfigMap is read there too, so that no run starts after a
        request to pause has been answered.
        """
        busy = list(self._cache.with_slot)  # before the quota is read, which counts the pods that appear meanwhile
        ACTIVE_RUNS.set(len(busy))
        QUEUED_RUNS.set(len(self._queue))
        self._backoffs = {run_id: each for run_id, each in self._backoffs.items() if run_id in self._queue}
        slots = 0 if self._cache.paused else self._limit - len(busy)
        if slots <= 0 or not any(map(self._ready, self._queue)) or self._node_has_just_evicted():
            return
        room, paused = await asyncio.gather(self._room(), self._paused_now())
        if room is not None:
            slots = min(slots, room - sum(observed.pod is None for observed in busy))
        if paused:
            return
        for run in filter(self._ready, self._queue):
            if slots <= 0:
                return
            slots -= await self._release(run)  # if this run cannot be released, the next one gets the slot

    def _ready(self, run: Run) -> bool:
        return self._clock() >= self._backoffs.get(run.run_id, _NO_BACKOFF).until

    async def _release(self, run: Run) -> bool:
        job = self._cache.get(run.run_id).job
        if job is None or jobs.phase_of(job) != labels.PHASE_QUEUED:
            return False
        try:
            self._prepare(run.run_id)
            self._cache.observe_job(await self._cluster.patch("Job", run.run_id, manifests.release_patch(job)))
            return True
        except (ObjectChanged, ObjectMissing):  # replaced or deleted; an event will update the cache
            return False
        except ClusterUnavailable:
            raise
        except (ClusterError, OSError) as exc:
            log.error("run %s: cannot release it: %s", run.run_id, exc)
        except Exception:
            report_exception("admission", f"run {run.run_id}: cannot release it")
        pause = min(2 * self._backoffs.get(run.run_id, _NO_BACKOFF).pause, _BACKOFF_MAX_SECONDS)
        self._backoffs[run.run_id] = _Backoff(self._clock() + pause, pause)
        return False

    def _node_has_just_evicted(self) -> bool:
        evicted_at = self._cache.evicted_at
        return evicted_at is not None and (self._now() - evicted_at).total_seconds() < _EVICTION_SECONDS

    async def _paused_now(self) -> bool:
        with contextlib.suppress(ObjectMissing):
            self._cache.observe_queue_config(await self._cluster.get("ConfigMap", labels.QUEUE))
        return self._cache.paused

    async def _room(self) -> int | None:
        """Return how many more pods the quota allows; None if there is no quota."""
        try:
            quota = await self._cluster.get("ResourceQuota", labels.QUOTA)
        except ObjectMissing:
            return None
        status = quota.get("status") or {}
        hard, used = status.get("hard"), status.get("used") or {}
        if hard is None:  # not computed yet, so Kubernetes does not enforce it
            return 0
        return _count(hard["pods"]) - _count(used.get("pods", "0")) if "pods" in hard else None


def _count(quantity: str) -> int:
    """Parse a number of objects. Kubernetes writes 1000 as `1k`."""
    return int(quantity.replace("k", "000"))
