"""The log pump: takes a run's output as it comes, keeps it in the archive, and lets the publisher know.

Any source can feed it: it is given bytes and, where the source knows them, their time stamps.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime

from launcher.domain.log_lines import LineKind, LineSplitter, Receipt, TimestampedPiece, as_display
from launcher.domain.runs import Run
from launcher.domain.text import one_line
from launcher.logs.publisher import Publisher
from launcher.metrics import LOG_LINES, LOG_LINES_LOST
from launcher.stores.archive import Archive


def lost_lines() -> int:
    """Return how many lines the disk has refused since this process started."""
    return int(next(iter(LOG_LINES_LOST.collect())).samples[0].value)


def timestamp() -> str:
    """Return this moment as RFC 3339, UTC, to the nanosecond."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def first_line(run: Run) -> bytes:
    """Return the first line of a run's log."""
    profile = f", profile {run.profile_ref}" if run.profile_ref else ""
    return system_line(f"Starting pipeline {run.pipeline} for job {run.job_id}{profile}")


def system_line(text: str) -> bytes:
    """Return what Slipway itself says as the bytes of a line; a Job made by hand, or Kubernetes, can say more lines."""
    return one_line(text).encode()


class LogPump:
    """The pump of one run."""

    def __init__(self, archive: Archive, publisher: Publisher, run_id: str) -> None:
        self._writer = archive.writer(run_id)
        self._publisher, self._run_id = publisher, run_id
        self._splitter = LineSplitter()

    def open(self, run: Run) -> None:
        """Write the first line of every log."""
        self._append([(LineKind.SYSTEM, first_line(run))])

    def feed(self, chunk: bytes) -> None:
        """Take output as it comes."""
        if pieces := self._splitter.feed(chunk):
            self._append(pieces)

    @property
    def unfinished(self) -> str | None:
        """What a line shows now that has been redrawn, but not finished; None where there is none."""
        rest = self._splitter.rest
        return as_display(rest) if b"\r" in rest else None

    def gap(self, why: str) -> None:
        """Mark that lines are missing here."""
        self._writer.gap(timestamp(), why)
        self._publisher.wake(self._run_id)

    def close(self) -> Receipt:
        """Keep what came without a newline, end the log, return its receipt. The tail has it all soon after."""
        if rest := self._splitter.flush():
            self._append(rest)
        with contextlib.suppress(OSError):  # then the receipt alone says that lines are missing
            self._writer.mark_refused(timestamp())
        receipt = self._writer.receipt(ended=True)
        self._writer.close()
        self._publisher.finish(self._run_id)
        return receipt

    def _append(self, pieces: list[tuple[LineKind, bytes]]) -> None:
        at = timestamp()
        try:
            LOG_LINES.inc(self._writer.append([TimestampedPiece(at, kind, data) for kind, data in pieces]))
        except OSError:  # the pipeline never waits for the disk
            self._writer.give_up(len(pieces))
            LOG_LINES_LOST.inc(len(pieces))
        self._publisher.wake(self._run_id)
