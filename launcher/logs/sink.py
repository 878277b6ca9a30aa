"""The sink of a run's log: writes lines from any source to the archive, and wakes the publisher.

Every log starts with the same line, and has a receipt once it is closed. A disk error never changes the numbers of
lines. Because disks can be slow, writes run in threads, one at a time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

from launcher.background import in_thread
from launcher.domain.log_lines import LineKind, Receipt, TimestampedPiece
from launcher.domain.runs import Run
from launcher.domain.text import one_line
from launcher.domain.timestamped_lines import ResumePoint
from launcher.logs.publisher import Publisher
from launcher.metrics import LOG_LINES, LOG_LINES_LOST
from launcher.stores.archive import Archive
from launcher.stores.log_file import LogWriter, gap_piece


def lost_lines() -> int:
    """Return how many lines could not be written since this process started."""
    return int(next(iter(LOG_LINES_LOST.collect())).samples[0].value)


def timestamp() -> str:
    """Return the current time in UTC as RFC 3339, with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def system_line(text: str) -> bytes:
    """Return a line that Slipway adds. Texts from Kubernetes or from handmade Jobs can have line breaks."""
    return one_line(text).encode()


def first_line(run: Run) -> bytes:
    """Return the first line of a run's log."""
    profile = f", profile {run.profile_ref}" if run.profile_ref else ""
    return system_line(f"Starting pipeline {run.pipeline} for job {run.job_id}{profile}")


class LogSink:
    """The log of one run, open for writing."""

    def __init__(self, writer: LogWriter, publisher: Publisher, run_id: str, *, drop_on_error: bool) -> None:
        self._writer, self._publisher, self._run_id = writer, publisher, run_id
        self._drop_on_error = drop_on_error

    @classmethod
    async def open(cls, archive: Archive, publisher: Publisher, run: Run, *, drop_on_error: bool = False) -> Self:
        """Open a run's log, and write its first line if it is empty. Raises `OSError`.

        With `drop_on_error`, lines that cannot be written are dropped and counted, because a child process must never
        wait for the disk. Without it, the caller reads the lines from its source again.
        """
        sink = cls(await in_thread(archive.writer, run.run_id), publisher, run.run_id, drop_on_error=drop_on_error)
        if sink.last_number == 0:
            try:
                await sink.write([TimestampedPiece(timestamp(), LineKind.SYSTEM, first_line(run))])
            except OSError:
                with contextlib.suppress(OSError):
                    await sink.release()
                raise
        return sink

    @property
    def last_number(self) -> int:
        """The number of the last line."""
        return self._writer.last_number

    @property
    def newest(self) -> str | None:
        """The timestamp of the last line that the pipeline wrote."""
        return self._writer.newest

    @property
    def full(self) -> bool:
        """Whether the log reached its limit, so nothing more is stored."""
        return self._writer.full

    async def resume_point(self) -> ResumePoint:
        """Return where to resume reading the source. Raises `OSError`."""
        return await in_thread(self._writer.resume_point)

    async def write(self, pieces: Sequence[TimestampedPiece]) -> None:
        """Append lines. Raises `OSError` if they cannot be written, unless the sink drops such lines."""
        before = self.last_number
        try:
            while pieces:
                pieces = pieces[await in_thread(self._writer.append, pieces) :]
        except OSError:
            if not self._drop_on_error:
                raise
            self._writer.drop(len(pieces))
            LOG_LINES_LOST.inc(len(pieces))
        finally:
            LOG_LINES.inc(self.last_number - before)
            self._publisher.wake(self._run_id)

    async def gap(self, why: str) -> None:
        """Append a marker of missing lines. Raises `OSError` as `write` does."""
        await self.write([gap_piece(timestamp(), why)])

    async def close(self, *, missing: str | None = None, note: str | None = None) -> Receipt:
        """Close the log and return its receipt; the publisher updates the tail. Raises `OSError`.

        `missing` says why the end of the log is missing. `note` is a last line that Slipway adds. Neither is written
        twice if the log is closed again, by this process or the next.
        """
        at, last, last_line = timestamp(), self._writer.last, system_line(note or "")
        pieces = []
        if missing and last and last[0] is not LineKind.GAP and last[1] != last_line:
            pieces.append(gap_piece(at, missing))
        if last_line and last != (LineKind.SYSTEM, last_line):
            pieces.append(TimestampedPiece(at, LineKind.SYSTEM, last_line))
        if pieces:
            await self.write(pieces)
        with contextlib.suppress(OSError):  # then only the receipt has the gap
            await in_thread(self._writer.mark_dropped, timestamp())
        receipt = self._writer.receipt(closed=True)
        await self.release()
        self._publisher.finish(self._run_id)
        return receipt

    async def release(self) -> None:
        """Close the file but not the log, so that another process can continue it."""
        await in_thread(self._writer.close)
