"""A run's log in the operator: a task follows it while the pod runs, then it is closed."""

from __future__ import annotations

import asyncio

from launcher.background import report_exception
from launcher.cluster.port import Cluster
from launcher.domain.log_lines import Receipt, unwritten_receipt
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus
from launcher.logs.publisher import Publisher
from launcher.recorder import is_disk_full
from launcher.stores.archive import Archive
from pipeline_operator import backoff
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.pod_log import PodLogFollower
from pipeline_operator.run_objects import RunObjects


class RunLog:
    """The log of one run. Errors of the log never prevent the run from finishing."""

    def __init__(
        self, objects: RunObjects, cluster: Cluster, cache: ClusterCache, archive: Archive, publisher: Publisher
    ) -> None:
        self._objects, self._cluster, self._cache = objects, cluster, cache
        self._archive, self._publisher = archive, publisher
        self._follower: PodLogFollower | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def container_started(self) -> bool:
        """Whether the log shows that the container has started; the pod's status reports it later."""
        return self._follower is not None and self._follower.container_started

    def follow(self, run: Run) -> None:
        """Start to follow the pod's log, unless it is being followed."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(run), name=f"log {run.run_id}")
            self._task.add_done_callback(lambda _: self._objects.notify())

    async def close(self, run: Run, outcome: Outcome) -> Receipt:
        """Wait for the last line and close the log. If it cannot be closed, the receipt has a gap.

        Raises `OSError` if the disk is full, because a retry can succeed.
        """
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None
        try:
            return await self._close(run, outcome)
        except Exception as exc:
            if is_disk_full(exc):
                raise
            report_exception("log", f"run {run.run_id}: cannot close its log")
            self._follower = None
            self._publisher.finish(run.run_id)
            return unwritten_receipt()

    async def release(self) -> None:
        """Stop following and close the file, so that another operator can continue."""
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
        finally:  # the reconciler may be cancelled again while a slow disk holds the task
            if self._follower is not None:
                await self._follower.release()

    async def _follow(self, run: Run) -> None:
        faults = 0
        while faults < backoff.MAX_FAULTS:
            try:
                await (await self._open(run)).follow()
                return
            except Exception as exc:
                report_exception("log", f"run {run.run_id}: cannot read its log; trying again")
                faults += not is_disk_full(exc)
            await asyncio.sleep(backoff.backoff_seconds(faults))

    async def _close(self, run: Run, outcome: Outcome) -> Receipt:
        """Close the log if there is one. If the run failed before its container started, add the reason to the log."""
        exists = self._follower is not None or self._archive.has_log(run.run_id)
        if not exists and outcome.status is not RunStatus.FAILED:
            return Receipt(complete=True)
        follower = await self._open(run)
        # a container that cannot be started has an empty log
        started = follower.container_started and outcome.reason is not Reason.CANNOT_START
        receipt = await follower.close(None if started else outcome.message)
        self._follower = None
        return receipt

    async def _open(self, run: Run) -> PodLogFollower:
        if self._follower is None:
            self._follower = await PodLogFollower.open(
                run, self._cluster, self._cache, self._archive, self._publisher, lambda: self._objects.observed
            )
        return self._follower
