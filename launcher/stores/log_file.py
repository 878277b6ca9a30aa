"""A log on disk: one record per line, and its only writer.

A record is a timestamp, a letter for the kind, the bytes and a newline, so that people can read the file with `less`.
A record without a newline is half-written: its writer was killed. It is cut off when the log is opened again. A record
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
_FULL = "The log passed"
_UNREADABLE = "This line of the archive cannot be read."
_MAX_RECORD_BYTES = 4 * MAX_LINE_BYTES  # no record that was written as a whole is longer
_RECORD_BYTES = 34  # of a record without its data: timestamp, kind, two spaces, newline
_DISK_FACTOR = 4
"""The file of a log, whose records are longer than its text, may be this many times as large as the text may be.

Only a log whose lines have fewer than 10 bytes on average reaches this limit first.
"""
_SOURCE_KINDS = (LineKind.LINE, LineKind.PART)
_KINDS = {kind.encode(): kind for kind in LineKind}


def record(timestamp: str, kind: LineKind, data: bytes) -> bytes:
    """Return the record of a line."""
    return b"%b %b %b\n" % (timestamp.encode(), kind.encode(), data)


def open_log(path: Path) -> BinaryIO:
    """Open a log for reading. Raises `OSError`, also for what is no regular file: opening a FIFO could block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb", buffering=_READ_BUFFER)
    os.close(descriptor)
    raise OSError(errno.EINVAL, "It is not a regular file", str(path))


def records(file: BinaryIO, offset: int = 0) -> Iterator[bytes]:
    """Yield the whole records from an offset on, each with its newline."""
    file.seek(offset)
    for each in file:
        if not each.endswith(b"\n"):
            return
        yield each


def lines(records: Iterable[bytes], first: int = 1) -> Iterator[LogLine]:
    """Yield the lines of records; `first` is the first one's number. The line of a damaged record is a gap."""
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
    return LogLine(number, "", LineKind.GAP, gap_data(Gap(first=number, last=number, why=_UNREADABLE)))


def gap_piece(timestamp: str, why: str) -> TimestampedPiece:
    """Return the marker of a gap; the writer numbers it."""
    return TimestampedPiece(timestamp, LineKind.GAP, gap_data(Gap(first=0, last=0, why=why)))


def _refusal(count: int) -> str:
    lines = "1 line: it is" if count == 1 else f"{count:,} lines: they are"
    return f"The disk refused {lines} not kept. Free some space (RETENTION_DAYS)."


class _Batch(NamedTuple):
    """Records to write, and what the writer knows once they are written."""

    records: list[bytes]
    number: int
    size: int
    newest: str | None
    full: bool
    last: tuple[LineKind, bytes]
    gaps: list[Gap]


class LogWriter:
    """The only writer of a log. Opening it cuts off a half-written record and counts the lines."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._max_bytes = path, max_bytes
        self._refused = 0
        """Lines that the disk refused since the last marker."""
        self._torn = False
        """Whether a write failed, so that the file may end with a half-written record."""
        self._size = 0  # of the whole records in the file
        self._bytes = 0  # of the log as text
        self._gaps: list[Gap] = []
        self.number = 0
        """The number of the last line."""
        self.last: tuple[LineKind, bytes] | None = None
        """The last line."""
        self.newest: str | None = None
        """The timestamp of the last line that the pipeline wrote."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW, 0o640)
        self.full = False
        """Whether the log passed `max_bytes`: nothing more is kept."""
        try:
            self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def _recover(self) -> None:
        """Count the whole records that the file has beyond those known, and cut off a half-written one."""
        self._count()
        os.ftruncate(self._file, self._size)
        self._torn = False
        self.full = bool(self._gaps) and self._gaps[-1].why.startswith(_FULL)

    def _count(self) -> None:
        def measured(records: Iterable[bytes]) -> Iterator[bytes]:
            for each in records:
                self._size += len(each)  # in the file: a damaged record can have any length
                yield each

        with open_log(self._path) as file:
            for number, timestamp, kind, data in lines(measured(records(file, self._size)), self.number + 1):
                self._bytes += stored_bytes(kind, data)
                if kind in _SOURCE_KINDS:
                    self.newest = timestamp
                elif kind is LineKind.GAP:
                    self._gaps.append(gap_of(data))
                self.number, self.last = number, (kind, data)

    def append(self, pieces: Sequence[TimestampedPiece]) -> int:
        """Append lines; return how many were handled: all, or those before the one that the disk refused.

        At `max_bytes` a marker is kept, and nothing after it. Raises `OSError` if the disk refuses the first line.
        Lines that were not handled can be appended again. No whole record is ever removed: it may have been read.
        """
        if self.full or not pieces:
            return len(pieces)
        if self._torn:
            self._recover()
        before, marked = self.number, self._refused > 0
        batch = self._batch([gap_piece(pieces[0].timestamp, _refusal(self._refused)), *pieces] if marked else pieces)
        try:
            self._write(b"".join(batch.records))
        except OSError:
            self._torn = True
            self._recover()
            kept = self.number - before
            if kept:
                self._refused = 0
            if kept <= marked:
                raise
            return kept - marked
        self.number, self._bytes, self.newest, self.full = batch.number, batch.size, batch.newest, batch.full
        self.last = batch.last
        self._gaps += batch.gaps
        self._refused = 0
        return len(pieces)

    def _batch(self, pieces: Sequence[TimestampedPiece]) -> _Batch:
        """Return the records of lines, and what the writer knows once they are written."""
        number, size, newest, disk = self.number, self._bytes, self.newest, self._size
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
                    why = f"{_FULL} {self._max_bytes} bytes (MAX_LOG_BYTES): what comes after is not kept."
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
        """Count lines that the disk refused. A marker precedes the next lines that it accepts."""
        if not self.full:
            self._refused += count

    def mark_dropped(self, timestamp: str) -> None:
        """Mark dropped lines at the end of the log. Raises `OSError` if the disk refuses the marker."""
        if count := self._refused:
            self._refused = 0
            try:
                self.append([gap_piece(timestamp, _refusal(count))])
            except OSError:
                self._refused = count
                raise

    def resume_point(self) -> ResumePoint:
        """Return how far the source's lines are kept, to ask the source for the rest."""
        with open_log(self._path) as file:
            pieces = (TimestampedPiece(*line[1:]) for line in lines(records(file)))
            return resume_point_of(self.newest, pieces)

    def receipt(self, *, ended: bool) -> Receipt:
        """Return the log's receipt; it is complete only if the log has ended and nothing is missing."""
        gaps = tuple(self._gaps)
        if self._refused:
            gaps += (Gap(first=self.number + 1, last=self.number + 1, why=_refusal(self._refused)),)
        return Receipt(lines=self.number, bytes=self._bytes, complete=ended and not gaps, gaps=gaps)

    def close(self) -> None:
        """Flush everything to the disk and close the file. A second call does nothing."""
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
