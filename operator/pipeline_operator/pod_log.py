"""Follows one pod's log, from when the pod has a node to the last line, across interruptions.

At first it tries every 20 ms, because the log can be read long before the pod's status is Running. After an
interruption, it resumes after the last line in the archive. If the node has deleted lines that were never read, a gap
marks them.
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
from launcher.logs.publisher import Publisher
from launcher.logs.sink import LogSink, timestamp
from launcher.metrics import LOG_REOPENED
from launcher.stores.archive import Archive
from launcher.stores.log_file import gap_piece
from pipeline_operator.cluster_cache import ClusterCache, ObservedRun

_EAGER_SECONDS = 2.0
_EAGER_STEP_SECONDS = 0.02
_STEP_MAX_SECONDS = 1.0
_TERMINATION_SECONDS = 3.0  # how much later a busy node may report the termination; rereading is slower
_DISK_RETRY_SECONDS = 1.0
_CATCH_UP_SECONDS = 600.0  # how long a log that cannot be read delays the run's outcome
_ROTATED = "The node rotated lines away before they could be read. They are not kept."
_GONE = "The pod was gone before the rest of its log could be read. Its last lines are not kept."
log = logging.getLogger(__name__)


class LogState(Enum):
    """How far the log of a pod has been followed."""

    WAITING_FOR_CONTAINER = auto()
    READING = auto()
    AT_END = auto()
    """The node closed the log, so the container has probably terminated. The pod's status will confirm it."""
    COMPLETE = auto()
    """All lines are in the archive."""
    FULL = auto()
    """The log reached its limit. The rest is not stored."""
    INCOMPLETE = auto()
    """The pod was gone, or its log could not be read for too long. The last lines are missing."""
    NO_CONTAINER = auto()
    """The pod terminated before its container started."""

    @property
    def final(self) -> bool:
        """Whether there is nothing left to read."""
        return self in (LogState.COMPLETE, LogState.FULL, LogState.INCOMPLETE, LogState.NO_CONTAINER)

    @property
    def started(self) -> bool:
        """Whether the log shows that the container has started."""
        return self not in (LogState.WAITING_FOR_CONTAINER, LogState.NO_CONTAINER)


class ReadResult(Enum):
    """The result of an attempt to read the log."""

    END = auto()
    """The node closed the log: all lines so far have been read."""
    INTERRUPTED = auto()
    """There may be more lines to read."""
    REFUSED = auto()
    """There is no log: the container does not exist yet, or no longer exists."""


def next_state(state: LogState, result: ReadResult, observed: ObservedRun, *, overdue: bool) -> LogState:
    """Return the state after an attempt to read the log. `observed` is from before the attempt."""
    given_up = LogState.INCOMPLETE if state.started else LogState.NO_CONTAINER
    match result:
        case ReadResult.END:  # a terminated pod writes no more lines
            return LogState.COMPLETE if observed.pod_terminated else LogState.AT_END
        case ReadResult.REFUSED if observed.terminated:
            return LogState.COMPLETE if state is LogState.AT_END else given_up
        case ReadResult.REFUSED:
            return state
        case ReadResult.INTERRUPTED:
            if overdue or observed.pod_deleted or (observed.pod is None and observed.terminated):
                return given_up
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
        cls,
        run: Run,
        cluster: Cluster,
        cache: ClusterCache,
        archive: Archive,
        publisher: Publisher,
        observe: Callable[[], ObservedRun],
    ) -> Self:
        """Open a run's log in the archive, where the previous operator stopped. Raises `OSError`."""
        return cls(run, await LogSink.open(archive, publisher, run), cluster, cache, observe)

    @property
    def container_started(self) -> bool:
        """Whether the log shows that the container has started. The pod's status reports it later."""
        return self._state.started

    async def follow(self) -> None:
        """Read until no more lines can be read, then wait until the pod has terminated."""
        loop = asyncio.get_running_loop()
        started_at, pause = loop.time(), _EAGER_STEP_SECONDS
        while not self._state.final:
            observed, number = self._observe(), self._sink.last_number
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
                if self._sink.last_number > number:
                    pause = _EAGER_STEP_SECONDS
                elif loop.time() - started_at > _EAGER_SECONDS:
                    pause = min(pause * 1.5, _STEP_MAX_SECONDS)
                await asyncio.sleep(pause)
        await self._wait_for_termination()

    async def release(self) -> None:
        """Close the file but not the log, so that another process can continue it."""
        await self._sink.release()

    async def close(self, note: str | None = None) -> Receipt:
        """Close the log, with the note as its last line if there is one; return its receipt. Raises `OSError`."""
        pod = self._observe().pod
        started = self._state.started or (pod is not None and pods.started_at(pod) is not None)
        done = self._state in (LogState.COMPLETE, LogState.FULL)
        return await self._sink.close(missing=_GONE if started and not done else None, note=note)

    async def _wait_for_termination(self, seconds: float | None = None) -> None:
        """Wait until the pod has terminated, at most `seconds`. Other changes of the run are ignored."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (observed := self._observe()).terminated:
                    await self._cache.wait_for_change(self._run_id, observed, None)

    async def _attempt(self, observed: ObservedRun) -> ReadResult:
        """Read more of the log, or check that nothing is left to read."""
        try:
            if self._state is LogState.AT_END and observed.pod_terminated:
                complete = observed.pod_deleted or await self._has_last_line(observed)
                return ReadResult.END if complete else ReadResult.INTERRUPTED
            return await self._read(observed)
        except ClusterUnavailable as exc:
            log.info("run %s: its log was interrupted: %s", self._run_id, exc)
            LOG_REOPENED.inc()
            return ReadResult.INTERRUPTED
        except (ClusterError, NotTimestamped):
            return ReadResult.REFUSED
        except ArchiveUnavailable as exc:  # the node still has the lines
            log.error("run %s: %s", self._run_id, exc)
            await asyncio.sleep(_DISK_RETRY_SECONDS)
            return ReadResult.INTERRUPTED

    async def _read(self, observed: ObservedRun) -> ReadResult:
        """Read the log until the node closes it."""
        if observed.pod is None or not pods.scheduled(observed.pod):
            return ReadResult.INTERRUPTED
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
        """Return whether the archive has the node's last line. This is cheaper than reading the last seconds again."""
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
        """Write the new lines of a response to the sink. With `last`, a line without a newline is complete."""
        splitter = TimestampedSplitter()
        marked = False
        async for chunk in chunks:
            pieces = resume_filter.new_pieces(splitter.feed(chunk))
            if resume_filter.missing_lines and not marked:
                marked = True
                await self._write([gap_piece(timestamp(), _ROTATED)])
            await self._write(pieces)
            if self._sink.full:
                return
        if last:
            await self._write(resume_filter.new_pieces(splitter.flush()))

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
