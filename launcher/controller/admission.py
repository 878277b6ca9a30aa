"""Admission on the cluster: releases waiting Jobs one by one as slots get free, never against the quota."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from prometheus_client import Gauge

from launcher.cluster import jobs, labels, manifests
from launcher.cluster.client import Cluster
from launcher.controller.picture import Picture
from launcher.domain.admission import to_release
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectChanged, ObjectMissing
from launcher.domain.runs import Run

_TICK_SECONDS = 5.0
_RETRY_SECONDS = 0.5
log = logging.getLogger(__name__)
ACTIVE = Gauge("slipway_active_runs", "Runs that hold a slot")
QUEUED = Gauge("slipway_queued_runs", "Runs that wait")


class Admission:
    """Releases runs. `waiting` gives those that may be released, as the operator has recorded them."""

    def __init__(
        self,
        cluster: Cluster,
        picture: Picture,
        *,
        limit: int,
        waiting: Callable[[], list[Run]],
        prepare: Callable[[str], object],
    ) -> None:
        self._cluster, self._picture = cluster, picture
        self._limit, self._waiting, self._prepare = limit, waiting, prepare

    async def run(self) -> None:
        """Admit whenever something has changed, and every few seconds."""
        while True:
            self._picture.changed.clear()
            try:
                await self.admit()
            except ClusterUnavailable as exc:
                log.info("admission: %s", exc)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # whatever it is, those who wait must not wait for ever
                log.exception("admission")
                await asyncio.sleep(_RETRY_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._picture.changed.wait()

    async def admit(self) -> None:
        """Release as many runs as have a slot.

        A slot is free when fewer runs than the limit hold one, counted from the picture, and the quota itself, asked
        at this moment, has room also for those that were released but whose pods are not there yet. The switch is
        asked as well: who has paused the queue must not see a run start after the answer.
        """
        waiting = self._waiting()
        busy = [sight for _, sight in self._picture.sights() if sight.busy]
        ACTIVE.set(len(busy))
        QUEUED.set(len(waiting))
        free = to_release(waiting, busy=len(busy), limit=self._limit, paused=self._picture.paused)
        if not free:
            return
        room, paused = await asyncio.gather(self._room(), self._paused_now())
        if paused:
            return
        if room is not None:
            free = free[: max(0, room - sum(sight.pod is None for sight in busy))]
        for run in free:
            await self._release(run)

    async def _release(self, run: Run) -> None:
        job = self._picture.sight(run.run_id).job
        if job is None or jobs.phase_of(job) != labels.PHASE_QUEUED:
            return
        try:
            self._prepare(run.run_id)
            self._picture.see_job(await self._cluster.patch("Job", run.run_id, manifests.release_patch(job)))
        except (ObjectChanged, ObjectMissing):  # cancelled or deleted at this moment: its event comes
            return
        except ClusterUnavailable:
            raise
        except (ClusterError, OSError) as exc:  # those behind it must not wait for it
            log.error("run %s cannot be released: %s", run.run_id, exc)

    async def _paused_now(self) -> bool:
        with contextlib.suppress(ObjectMissing):
            self._picture.see_switch(await self._cluster.get("ConfigMap", labels.QUEUE))
        return self._picture.paused

    async def _room(self) -> int | None:
        """Return how many pods the quota admits; None where there is no quota."""
        try:
            quota = await self._cluster.get("ResourceQuota", labels.QUOTA)
        except ObjectMissing:
            return None
        status = quota.get("status") or {}
        hard, used = status.get("hard"), status.get("used") or {}
        if hard is None:  # not counted yet: until then it admits anything
            return 0
        return _count(hard["pods"]) - _count(used.get("pods", "0")) if "pods" in hard else None


def _count(quantity: str) -> int:
    """Read a number of objects; Kubernetes writes 1000 as `1k`."""
    return int(quantity.replace("k", "000"))
