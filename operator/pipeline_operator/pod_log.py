"""The pump of one pod's log: from the moment the pod has a node, through every break, to the last line.

It asks every 20 ms at first, since the log can be read long before the pod's status says Running. Cut off, it goes on
from what the archive holds. Where the node no longer has lines that were not read, a marker stands in their place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from launcher.cluster import pods
from launcher.cluster.port import Cluster
from launcher.domain.errors import ClusterError, ClusterUnavailable, StoreUnavailable
from launcher.domain.log_lines import LineKind, Receipt, TimestampedPiece
from launcher.domain.runs import Run
from launcher.domain.timestamped_lines import NotTimestamped, ResumeFilter, TimestampedSplitter
from launcher.logs.publisher import Publisher
from launcher.logs.pump import first_line, system_line, timestamp
from launcher.metrics import LOG_LINES, LOG_REOPENED
from launcher.stores.archive import Archive
from launcher.stores.log_file import LogWriter, gap_piece
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun

_EAGER_SECONDS = 2.0
_EAGER_STEP_SECONDS = 0.02
_STEP_MAX_SECONDS = 1.0
_END_SECONDS = 3.0  # so much later than its log a pod ends on a busy node; to read again may take longer
_DISK_RETRY_SECONDS = 1.0
_CATCH_UP_SECONDS = 600.0  # an end is not held back for longer by a log that cannot be read
_ROTATED = "The node rotated lines away before they could be read; they are not kept."
_GONE = "The pod was gone before the rest of its log could be read; what it printed last is not kept."
log = logging.getLogger(__name__)


class PodLogFollower:
    """One run's log on its way from the kubelet into the archive. `follow` runs as a task of its own."""

    def __init__(
        self,
        run: Run,
        cluster: Cluster,
        cache: ClusterCache,
        archive: Archive,
        publisher: Publisher,
        look: Callable[[], ObservedRun],
    ) -> None:
        self._run, self._cluster, self._cache, self._look = run, cluster, cache, look
        self._archive, self._publisher = archive, publisher
        self._writer: LogWriter = archive.writer(run.run_id)
        self.opened = run.started_at is not None
        """Whether the container has been seen to be there."""
        self._over_since = float("inf")
        self._whole = False
        """Whether all that the container printed is kept."""
        if self._writer.number == 0:
            self._writer.append([TimestampedPiece(timestamp(), LineKind.SYSTEM, first_line(run))])
            publisher.wake(run.run_id)

    async def follow(self) -> None:
        """Read until the pod's log has ended, or the pod is gone."""
        loop = asyncio.get_running_loop()
        began, step = loop.time(), _EAGER_STEP_SECONDS
        at_end = False  # whether the source itself ended the last reading
        while not self._writer.full and not self._whole:
            observed = self._look()  # before reading: what is read of a pod that is over is all there will be
            before = self._writer.number
            try:
                at_end = await self._step(observed, at_end)
            except ClusterUnavailable as exc:
                log.info("run %s: the log breaks off: %s", self._run.run_id, exc)
                LOG_REOPENED.inc()
                at_end = False
            except (ClusterError, NotTimestamped):  # the container is not there yet, or never was, or is no more
                if observed.terminated:
                    self._whole = at_end
                    break
            if at_end and not self._whole:  # the container has most likely ended: its pod will soon say so
                await self._over(_END_SECONDS)
                continue
            if self._writer.number > before:
                step = _EAGER_STEP_SECONDS
            elif loop.time() - began > _EAGER_SECONDS:
                step = min(step * 1.5, _STEP_MAX_SECONDS)
            if observed.pod_deleted or (observed.terminated and not observed.pod) or self._overdue(observed):
                break
            await asyncio.sleep(0 if self._whole else step)
        await self._over()  # where the log is full, the rest is not kept

    async def _over(self, seconds: float | None = None) -> None:
        """Wait until the pod is over, at most so long: at other news, nothing needs to be read again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (observed := self._look()).terminated:
                    await self._cache.wait_for_change(self._run.run_id, observed, None)

    def _overdue(self, observed: ObservedRun) -> bool:
        """Say whether the log of a pod that is over has been asked for long enough."""
        at = asyncio.get_running_loop().time()
        self._over_since = min(self._over_since, at) if observed.pod_terminated else at
        return at - self._over_since > _CATCH_UP_SECONDS

    async def _step(self, observed: ObservedRun, at_end: bool) -> bool:
        """Read on, or make sure that there is nothing more; say whether the source ended the reading."""
        if at_end and observed.pod_terminated:
            self._whole = observed.pod_deleted or await self._nothing_more(observed)
            return False
        try:
            ended = await self._read(observed)
        except StoreUnavailable as exc:  # the node keeps the lines meanwhile
            log.error("run %s: %s", self._run.run_id, exc)
            await asyncio.sleep(_DISK_RETRY_SECONDS)
            return False
        self._whole = ended and observed.pod_terminated
        return ended

    def stop(self) -> None:
        """Let go of the file; another process may go on."""
        self._writer.close()

    def close(self, note: str | None = None) -> Receipt:
        """Terminate the log, with a note of Slipway's own where there is one; return its receipt.

        A process before this one may have come so far already: what it said is not said again.
        """
        pod = self._look().pod
        began = self.opened or (pod is not None and pods.started_at(pod) is not None)
        last = self._archive.read(self._run.run_id, self._writer.number - 1)
        if began and not self._whole and not self._writer.full and not (last and last[0].kind is LineKind.GAP):
            self._writer.gap(timestamp(), _GONE)
        said = system_line(note or "")
        if said and not (last and last[0].data == said):
            self._writer.append([TimestampedPiece(timestamp(), LineKind.SYSTEM, said)])
        receipt = self._writer.receipt(ended=True)
        self._writer.close()
        self._publisher.finish(self._run.run_id)
        return receipt

    async def _read(self, observed: ObservedRun) -> bool:
        """Read the log as far as it goes; say whether the source ended it."""
        if observed.pod is None or not pods.scheduled(observed.pod):
            return False
        kept = await asyncio.to_thread(self._writer.kept)
        name, container = observed.pod["metadata"]["name"], pods.container_of(observed.pod)
        async with self._cluster.log(name, container, since=kept.since, follow=not observed.pod_terminated) as chunks:
            if not self.opened:
                self.opened = True
                self._cache.notify(self._run.run_id)
            await self._take(chunks, ResumeFilter(kept), last=observed.pod_terminated)
        return True

    async def _nothing_more(self, observed: ObservedRun) -> bool:
        """Say whether the source's last line is kept already, which is cheaper than to read all of its last seconds."""
        assert observed.pod is not None
        splitter = TimestampedSplitter()
        name, container = observed.pod["metadata"]["name"], pods.container_of(observed.pod)
        stamps = []
        async with self._cluster.log(name, container, follow=False, last_lines=1) as chunks:
            async for chunk in chunks:
                stamps += [piece.timestamp for piece in splitter.feed(chunk)]
        stamps += [piece.timestamp for piece in splitter.flush()]
        return not stamps or stamps[-1] == self._writer.newest

    async def _take(self, chunks: AsyncIterator[bytes], resume_filter: ResumeFilter, *, last: bool) -> None:
        splitter = TimestampedSplitter()
        marked = False
        async for chunk in chunks:
            pieces = resume_filter.rest_of(splitter.feed(chunk))
            if resume_filter.missed and not marked:
                marked = True
                self._keep([gap_piece(timestamp(), _ROTATED)])
            if pieces:
                self._keep(pieces)
                if self._writer.full:
                    return
                await asyncio.sleep(0)  # a chatty pod must not keep the others waiting
        if last and (pieces := resume_filter.rest_of(splitter.flush())):
            self._keep(pieces)

    def _keep(self, pieces: Sequence[TimestampedPiece]) -> None:
        try:
            LOG_LINES.inc(self._writer.append(pieces))
        except OSError as exc:
            raise StoreUnavailable(f"The archive cannot be written: {exc.strerror}. Free some space.") from exc
        self._publisher.wake(self._run.run_id)
