"""The sink of a run's log: whichever source its lines come from, they go to the archive, and the publisher is woken.

Every log begins with the same line, keeps its numbers whatever the disk does, and ends with a receipt. The disk is
used in threads, as it can be slow; one call at a time, so a log has one writer.
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
    """Return how many lines the disk has refused since this process started."""
    return int(next(iter(LOG_LINES_LOST.collect())).samples[0].value)


def timestamp() -> str:
    """Return the current time as RFC 3339, UTC, in nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def system_line(text: str) -> bytes:
    """Return a line of Slipway's own. The text may have several lines: a Job made by hand, or Kubernetes, wrote it."""
    return one_line(text).encode()


def first_line(run: Run) -> bytes:
    """Return the first line of a run's log."""
    profile = f", profile {run.profile_ref}" if run.profile_ref else ""
    return system_line(f"Starting pipeline {run.pipeline} for job {run.job_id}{profile}")


class LogSink:
    """The log of one run, open for writing."""

    def __init__(self, writer: LogWriter, publisher: Publisher, run_id: str, *, drop_refused: bool) -> None:
        self._writer, self._publisher, self._run_id = writer, publisher, run_id
        self._drop_refused = drop_refused

    @classmethod
    async def open(cls, archive: Archive, publisher: Publisher, run: Run, *, drop_refused: bool = False) -> Self:
        """Open a run's log, and write its first line if it is empty. Raises `OSError`.

        With `drop_refused`, lines that the disk refuses are dropped and counted: a child process must never wait for
        the disk. Without it the caller writes them again, as its source still has them.
        """
        sink = cls(await in_thread(archive.writer, run.run_id), publisher, run.run_id, drop_refused=drop_refused)
        if sink.number == 0:
            try:
                await sink.write([TimestampedPiece(timestamp(), LineKind.SYSTEM, first_line(run))])
            except OSError:
                with contextlib.suppress(OSError):
                    await sink.release()
                raise
        return sink

    @property
    def number(self) -> int:
        """The number of the last line."""
        return self._writer.number

    @property
    def newest(self) -> str | None:
        """The timestamp of the last line that the pipeline wrote."""
        return self._writer.newest

    @property
    def full(self) -> bool:
        """Whether the log has reached its limit: nothing more is kept."""
        return self._writer.full

    async def resume_point(self) -> ResumePoint:
        """Return how far the source's lines are kept. Raises `OSError`."""
        return await in_thread(self._writer.resume_point)

    async def write(self, pieces: Sequence[TimestampedPiece]) -> None:
        """Append lines. Raises `OSError` if the disk refuses them and they are not to be dropped."""
        before = self.number
        try:
            while pieces:
                pieces = pieces[await in_thread(self._writer.append, pieces) :]
        except OSError:
            if not self._drop_refused:
                raise
            self._writer.drop(len(pieces))
            LOG_LINES_LOST.inc(len(pieces))
        finally:
            LOG_LINES.inc(self.number - before)
            self._publisher.wake(self._run_id)

    async def gap(self, why: str) -> None:
        """Mark that lines are missing here. Raises `OSError` as `write` does."""
        await self.write([gap_piece(timestamp(), why)])

    async def close(self, *, missing: str | None = None, note: str | None = None) -> Receipt:
        """End the log and return its receipt; the publisher brings the tail up to date. Raises `OSError`.

        `missing` says why the end of the log is missing; `note` is Slipway's last line. Neither is written twice if the
        log is closed again, by this process or the next.
        """
        at, last, said = timestamp(), self._writer.last, system_line(note or "")
        pieces = []
        if missing and last and last[0] is not LineKind.GAP and last[1] != said:
            pieces.append(gap_piece(at, missing))
        if said and last != (LineKind.SYSTEM, said):
            pieces.append(TimestampedPiece(at, LineKind.SYSTEM, said))
        if pieces:
            await self.write(pieces)
        with contextlib.suppress(OSError):  # then only the receipt shows that lines are missing
            await in_thread(self._writer.mark_dropped, timestamp())
        receipt = self._writer.receipt(ended=True)
        await self.release()
        self._publisher.finish(self._run_id)
        return receipt

    async def release(self) -> None:
        """Close the file without ending the log: another process may continue it."""
        await in_thread(self._writer.close)
