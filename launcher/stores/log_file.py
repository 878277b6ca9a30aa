"""A log file: one record per line, and the writer.

A record is a timestamp, a letter for the kind, the bytes and a newline, so the file is readable with `less`. A record
without a newline is incomplete, because its writer was killed; it is truncated when the log is opened again. A record
that the disk or an editor damaged keeps its number and is read as a gap.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from launcher.domain.log_lines import (
    MAX_LINE_BYTES,
    Gap,
    LineKind,
    LogLine,
    Receipt,
    TimestampedPiece,
    gap_data,
    gap_of,
    stored_bytes,
)
from launcher.domain.timestamped_lines import ResumePoint, resume_point_of

BLOCK = 1 << 20  # bytes read at a time
_READ_BUFFER = 128 << 10
FULL = "The log passed"
UNREADABLE = "This line cannot be read from the archive."
_MAX_RECORD_BYTES = 4 * MAX_LINE_BYTES  # longer than any record that was written
_RECORD_BYTES = 34  # a record's size without its data: timestamp, kind, two spaces, newline
_DISK_FACTOR = 4
"""A log's file may be this many times larger than its text, because records are longer than lines.

Only a log with fewer than 10 bytes per line on average reaches this limit first.
"""
_SOURCE_KINDS = (LineKind.LINE, LineKind.PART)
_KINDS = {kind.encode(): kind for kind in LineKind}


def record(timestamp: str, kind: LineKind, data: bytes) -> bytes:
    """Encode a line as a record."""
    return b"%b %b %b\n" % (timestamp.encode(), kind.encode(), data)


def open_log(path: Path) -> BinaryIO:
    """Open a log for reading. Raises `OSError`, also for what is no regular file: opening a FIFO could block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb", buffering=_READ_BUFFER)
    os.close(descriptor)
    raise OSError(errno.EINVAL, "It is not a regular file", str(path))


def records(file: BinaryIO, offset: int = 0) -> Iterator[bytes]:
    """Yield the complete records after an offset, each with its newline."""
    file.seek(offset)
    for each in file:
        if not each.endswith(b"\n"):
            return
        yield each


def lines(records: Iterable[bytes], first: int = 1) -> Iterator[LogLine]:
    """Decode records into lines, numbered from `first`. A damaged record becomes a gap."""
    for number, each in enumerate(records, first):
        try:
            timestamp, kind, data = each.split(b" ", 2)
            line = LogLine(number, timestamp.decode(), _KINDS[kind], data[:-1])
            if kind == b"G":
                gap_of(data)
            damaged = len(each) > _MAX_RECORD_BYTES
        except (ValueError, KeyError, RecursionError):
            damaged = True
        yield _unreadable(number) if damaged else line


def _unreadable(number: int) -> LogLine:
    return LogLine(number, "", LineKind.GAP, gap_data(Gap(first=number, last=number, why=UNREADABLE)))


def gap_piece(timestamp: str, why: str) -> TimestampedPiece:
    """Return the marker of a gap. The writer numbers it."""
    return TimestampedPiece(timestamp, LineKind.GAP, gap_data(Gap(first=0, last=0, why=why)))


def lines_lost(count: int) -> str:
    """Return why lines are missing that could not be written."""
    lines = "1 line" if count == 1 else f"{count:,} lines"
    return f"{lines} could not be written to the disk. Free some space (RETENTION_DAYS)."


class _Batch(NamedTuple):
    """Records to write, and the writer's state after that."""

    records: list[bytes]
    number: int
    size: int
    newest: str | None
    full: bool
    last: tuple[LineKind, bytes]
    gaps: list[Gap]


class LogWriter:
    """The only writer of a log. Opening it truncates an incomplete record and counts the lines."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._max_bytes = path, max_bytes
        self._dropped = 0
        """The number of lines that could not be written since the last marker."""
        self._torn = False
        """Whether a write failed, so that the file can end with an incomplete record."""
        self._size = 0  # of the complete records in the file
        self._bytes = 0  # of the log as text
        self._gaps: list[Gap] = []
        self.last_number = 0
        """The number of the last line."""
        self.last: tuple[LineKind, bytes] | None = None
        """The last line."""
        self.newest: str | None = None
        """The timestamp of the last line that the pipeline wrote."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW, 0o640)
        self.full = False
        """Whether the log reached `max_bytes`, so nothing more is stored."""
        try:
            self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def _recover(self) -> None:
        """Count the complete records after those already counted, and truncate an incomplete one."""
        self._count()
        os.ftruncate(self._file, self._size)
        self._torn = False
        self.full = bool(self._gaps) and self._gaps[-1].why.startswith(FULL)

    def _count(self) -> None:
        def measured(records: Iterable[bytes]) -> Iterator[bytes]:
            for each in records:
                self._size += len(each)  # a damaged record can have any length
                yield each

        with open_log(self._path) as file:
            for number, timestamp, kind, data in lines(measured(records(file, self._size)), self.last_number + 1):
                self._bytes += stored_bytes(kind, data)
                if kind in _SOURCE_KINDS:
                    self.newest = timestamp
                elif kind is LineKind.GAP:
                    self._gaps.append(gap_of(data))
                self.last_number, self.last = number, (kind, data)

    def append(self, pieces: Sequence[TimestampedPiece]) -> int:
        """Append lines; return how many were handled: all of them, or those before the first that could not be written.

        At `max_bytes`, a marker is stored and nothing after it. Raises `OSError` if the first line cannot be written.
        The caller can append the other lines again. A complete record is never removed, because it may have been read.
        """
        if self.full or not pieces:
            return len(pieces)
        if self._torn:
            self._recover()
        before, marked = self.last_number, self._dropped > 0
        batch = self._batch([gap_piece(pieces[0].timestamp, lines_lost(self._dropped)), *pieces] if marked else pieces)
        try:
            self._write(b"".join(batch.records))
        except OSError:
            self._torn = True
            self._recover()
            written = self.last_number - before
            if written:
                self._dropped = 0
            if written <= marked:
                raise
            return written - marked
        self.last_number, self._bytes, self.newest, self.full = batch.number, batch.size, batch.newest, batch.full
        self.last = batch.last
        self._gaps += batch.gaps
        self._dropped = 0
        return len(pieces)

    def _batch(self, pieces: Sequence[TimestampedPiece]) -> _Batch:
        """Encode lines as records; return them with the writer's state after they are written."""
        number, size, newest, disk = self.last_number, self._bytes, self.newest, self._size
        new: list[bytes] = []
        gaps: list[Gap] = []
        full = False
        for timestamp, kind, data in pieces:
            number += 1
            if kind is LineKind.GAP:
                gaps.append(Gap(first=number, last=number, why=gap_of(data).why))
                data = gap_data(gaps[-1])
                length = stored_bytes(kind, data)
            else:
                length = len(data) + (kind is not LineKind.PART)
                disk += len(data) + _RECORD_BYTES
                if size + length > self._max_bytes or disk > _DISK_FACTOR * self._max_bytes + BLOCK:
                    why = f"{FULL} {self._max_bytes} bytes (MAX_LOG_BYTES). The rest is not kept."
                    gaps.append(Gap(first=number, last=number, why=why))
                    kind, data, full = LineKind.GAP, gap_data(gaps[-1]), True
                    length = stored_bytes(kind, data)
            size += length
            new.append(record(timestamp, kind, data))
            if full:
                break
            if kind in _SOURCE_KINDS:
                newest = timestamp
        return _Batch(new, number, size, newest, full, (kind, data), gaps)

    def drop(self, count: int) -> None:
        """Count lines that could not be written. A marker precedes the next lines that can be."""
        if not self.full:
            self._dropped += count

    def mark_dropped(self, timestamp: str) -> None:
        """Mark dropped lines at the end of the log. Raises `OSError` if the marker cannot be written."""
        if count := self._dropped:
            self._dropped = 0
            try:
                self.append([gap_piece(timestamp, lines_lost(count))])
            except OSError:
                self._dropped = count
                raise

    def resume_point(self) -> ResumePoint:
        """Return where to resume reading the source."""
        with open_log(self._path) as file:
            pieces = (TimestampedPiece(*line[1:]) for line in lines(records(file)))
            return resume_point_of(self.newest, pieces)

    def receipt(self, *, closed: bool) -> Receipt:
        """Return the log's receipt, which is complete only if the log is closed and nothing is missing."""
        gaps = tuple(self._gaps)
        if self._dropped:
            gaps += (Gap(first=self.last_number + 1, last=self.last_number + 1, why=lines_lost(self._dropped)),)
        return Receipt(lines=self.last_number, bytes=self._bytes, complete=closed and not gaps, gaps=gaps)

    def close(self) -> None:
        """Sync the file to disk and close it. A second call does nothing."""
        if self._file >= 0:
            try:
                os.fsync(self._file)
            finally:
                os.close(self._file)
                self._file = -1

    def _write(self, new: bytes) -> None:
        written = 0
        while written < len(new):
            written += os.write(self._file, new[written:])
        self._size += written
