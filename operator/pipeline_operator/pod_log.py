"""The follower of one pod's log: from the moment the pod has a node, across every break, to the last line.

It tries every 20 ms at first, as the log can be read long before the pod's status says Running. After a break it
resumes from what the archive has. If the node no longer has lines that were never read, a gap marks them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from enum import Enum, auto
from typing import Self

from launcher.cluster import pods
from launcher.cluster.port import Cluster
from launcher.domain.errors import ArchiveUnavailable, ClusterError, ClusterUnavailable
from launcher.domain.log_lines import Receipt, TimestampedPiece
from launcher.domain.runs import Run
from launcher.domain.timestamped_lines import NotTimestamped, ResumeFilter, TimestampedSplitter
from launcher.logs.sink import LogSink, timestamp
from launcher.metrics import LOG_REOPENED
from launcher.stores.log_file import gap_piece
from launcher.wiring import Storage
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun

_EAGER_SECONDS = 2.0
_EAGER_STEP_SECONDS = 0.02
_STEP_MAX_SECONDS = 1.0
_TERMINATION_SECONDS = 3.0  # a busy node reports a pod's end this much later than its log ends; rereading is slower
_DISK_RETRY_SECONDS = 1.0
_CATCH_UP_SECONDS = 600.0  # a log that cannot be read delays the run's end no longer than this
_ROTATED = "The node rotated lines away before they could be read. They are not kept."
_GONE = "The pod was gone before the rest of its log could be read. Its last lines are not kept."
log = logging.getLogger(__name__)


class LogState(Enum):
    """How far the log of a pod has been followed."""

    WAITING_FOR_CONTAINER = auto()
    READING = auto()
    AT_END = auto()
    """The node ended the last read, so the container has most likely ended: the pod's status will say so."""
    COMPLETE = auto()
    """All lines have been kept."""
    FULL = auto()
    """The log reached its limit; the rest is not kept."""
    INCOMPLETE = auto()
    """The pod was gone, or its log could not be read for too long; its last lines are not kept."""
    NO_CONTAINER = auto()
    """The pod ended before its container started."""

    @property
    def final(self) -> bool:
        """Whether there is nothing left to read."""
        return self in (LogState.COMPLETE, LogState.FULL, LogState.INCOMPLETE, LogState.NO_CONTAINER)

    @property
    def started(self) -> bool:
        """Whether the container is known to have started."""
        return self not in (LogState.WAITING_FOR_CONTAINER, LogState.NO_CONTAINER)


class ReadResult(Enum):
    """How an attempt to read the log ended."""

    END = auto()
    """The node ended it: these were all lines so far."""
    BREAK = auto()
    """There may be more lines to read now."""
    REFUSED = auto()
    """There is no log to read: its container does not exist yet, or any more."""


def next_state(state: LogState, result: ReadResult, observed: ObservedRun, *, overdue: bool) -> LogState:
    """Return the state after an attempt to read the log. The run was observed before the attempt."""
    gave_up = LogState.INCOMPLETE if state.started else LogState.NO_CONTAINER
    match result:
        case ReadResult.END:  # of a pod that has ended, these are all lines that there will be
            return LogState.COMPLETE if observed.pod_terminated else LogState.AT_END
        case ReadResult.REFUSED if observed.terminated:
            return LogState.COMPLETE if state is LogState.AT_END else gave_up
        case ReadResult.REFUSED:
            return state
        case ReadResult.BREAK:
            if overdue or observed.pod_deleted or (observed.pod is None and observed.terminated):
                return gave_up
            return LogState.READING if state.started else state


class PodLogFollower:
    """Copies one run's log from the kubelet to the archive. `follow` runs in its own task."""

    def __init__(
        self, run: Run, sink: LogSink, cluster: Cluster, cache: ClusterCache, observe: Callable[[], ObservedRun]
    ) -> None:
        self._run_id, self._sink = run.run_id, sink
        self._cluster, self._cache, self._observe = cluster, cache, observe
        self._overdue_at = float("inf")
        self._state = LogState.READING if run.started_at is not None else LogState.WAITING_FOR_CONTAINER
        if sink.full:
            self._state = LogState.FULL

    @classmethod
    async def open(
        cls, run: Run, cluster: Cluster, cache: ClusterCache, storage: Storage, observe: Callable[[], ObservedRun]
    ) -> Self:
        """Open the archive's log of a run, where the last operator left it. Raises `OSError`."""
        return cls(run, await LogSink.open(storage.archive, storage.publisher, run), cluster, cache, observe)

    @property
    def container_started(self) -> bool:
        """Whether the log shows that the container has started, which its pod's status says later."""
        return self._state.started

    async def follow(self) -> None:
        """Read until the log is complete, or cannot be; then wait for the pod's end."""
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), _EAGER_STEP_SECONDS
        while not self._state.final:
            observed, number = self._observe(), self._sink.number
            if observed.pod_terminated:
                self._overdue_at = min(self._overdue_at, loop.time() + _CATCH_UP_SECONDS)
            result = await self._attempt(observed)
            overdue = loop.time() > self._overdue_at
            self._state = (
                LogState.FULL if self._sink.full else next_state(self._state, result, observed, overdue=overdue)
            )
            if self._state is LogState.AT_END:
                await self._wait_for_termination(_TERMINATION_SECONDS)
            elif not self._state.final:
                if self._sink.number > number:
                    pause = _EAGER_STEP_SECONDS
                elif loop.time() - began > _EAGER_SECONDS:
                    pause = min(pause * 1.5, _STEP_MAX_SECONDS)
                await asyncio.sleep(pause)
        await self._wait_for_termination()

    async def release(self) -> None:
        """Close the file; another process may continue the log."""
        await self._sink.release()

    async def close(self, note: str | None = None) -> Receipt:
        """End the log, with a last line of Slipway's own if there is a note; return its receipt. Raises `OSError`."""
        pod = self._observe().pod
        started = self._state.started or (pod is not None and pods.started_at(pod) is not None)
        kept = self._state in (LogState.COMPLETE, LogState.FULL)
        return await self._sink.close(missing=_GONE if started and not kept else None, note=note)

    async def _wait_for_termination(self, seconds: float | None = None) -> None:
        """Wait until the pod has ended, for at most so long. Other news of the run is no reason to read again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (observed := self._observe()).terminated:
                    await self._cache.wait_for_change(self._run_id, observed, None)

    async def _attempt(self, observed: ObservedRun) -> ReadResult:
        """Read on, or check that nothing is left to read."""
        try:
            if self._state is LogState.AT_END and observed.pod_terminated:
                nothing_left = observed.pod_deleted or await self._has_last_line(observed)
                return ReadResult.END if nothing_left else ReadResult.BREAK
            return await self._read(observed)
        except ClusterUnavailable as exc:
            log.info("run %s: reading its log broke off: %s", self._run_id, exc)
            LOG_REOPENED.inc()
            return ReadResult.BREAK
        except (ClusterError, NotTimestamped):
            return ReadResult.REFUSED
        except ArchiveUnavailable as exc:  # the node keeps the lines meanwhile
            log.error("run %s: %s", self._run_id, exc)
            await asyncio.sleep(_DISK_RETRY_SECONDS)
            return ReadResult.BREAK

    async def _read(self, observed: ObservedRun) -> ReadResult:
        """Read the log until the node ends it."""
        if observed.pod is None or not pods.scheduled(observed.pod):
            return ReadResult.BREAK
        with _archive_access("read"):
            resume_point = await self._sink.resume_point()
        name, container = observed.pod["metadata"]["name"], pods.container_of(observed.pod)
        follow = not observed.pod_terminated
        async with self._cluster.log(name, container, since=resume_point.since, follow=follow) as chunks:
            if self._state is LogState.WAITING_FOR_CONTAINER:
                self._state = LogState.READING
                self._cache.notify(self._run_id)
            await self._copy(chunks, ResumeFilter(resume_point), last=not follow)
        return ReadResult.END

    async def _has_last_line(self, observed: ObservedRun) -> bool:
        """Return whether the node's last line is kept, which is cheaper to find out than reading its last seconds."""
        assert observed.pod is not None
        splitter = TimestampedSplitter()
        name, container = observed.pod["metadata"]["name"], pods.container_of(observed.pod)
        pieces: list[TimestampedPiece] = []
        async with self._cluster.log(name, container, follow=False, last_lines=1) as chunks:
            async for chunk in chunks:
                pieces += splitter.feed(chunk)
        pieces += splitter.flush()
        return not pieces or pieces[-1].timestamp == self._sink.newest

    async def _copy(self, chunks: AsyncIterator[bytes], resume_filter: ResumeFilter, *, last: bool) -> None:
        """Write the new lines of an answer to the sink. `last`: a line without a newline is complete."""
        splitter = TimestampedSplitter()
        marked = False
        async for chunk in chunks:
            pieces = resume_filter.rest_of(splitter.feed(chunk))
            if resume_filter.missed and not marked:
                marked = True
                await self._write([gap_piece(timestamp(), _ROTATED)])
            await self._write(pieces)
            if self._sink.full:
                return
        if last:
            await self._write(resume_filter.rest_of(splitter.flush()))

    async def _write(self, pieces: Sequence[TimestampedPiece]) -> None:
        if pieces:
            with _archive_access("written"):
                await self._sink.write(pieces)


@contextlib.contextmanager
def _archive_access(kind: str) -> Iterator[None]:
    """Turn the disk's errors into `ArchiveUnavailable`, so that they do not look like the API server's."""
    try:
        yield
    except OSError as exc:
        raise ArchiveUnavailable(f"The archive cannot be {kind}: {exc.strerror}. Check ARCHIVE_DIR.") from exc
