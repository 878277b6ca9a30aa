"""A log on the disk: one record a line, and its one writer.

A record is time stamp, a letter for the kind, the bytes, a newline, so that people can read it with `less`. Only whole
records count: what a killed writer left half-written has no newline and is cut off when the log is opened again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from launcher.domain.log_lines import (
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
_FULL = "The log passed"
_RECORD_BYTES = 34  # of a record beside its data: time stamp, kind, two spaces, newline
_DISK_FACTOR = 8
"""A log of very short lines is full when its file, records and all, is so many times as large as its text may be."""
_SOURCE_KINDS = (LineKind.LINE, LineKind.PART)
_KINDS = {kind.encode(): kind for kind in LineKind}


def record(timestamp: str, kind: LineKind, data: bytes) -> bytes:
    """Return a line as its record."""
    return b"%b %b %b\n" % (timestamp.encode(), kind.encode(), data)


def lines(file: BinaryIO, offset: int, number: int, block_bytes: int = BLOCK) -> Iterator[LogLine]:
    """Yield the lines of whole records from an offset on; the first has this number."""
    file.seek(offset)
    rest = b""
    while block := file.read(block_bytes):
        records = (rest + block).split(b"\n")
        rest = records.pop()
        for each in records:
            timestamp, kind, data = each.split(b" ", 2)
            yield LogLine(number, timestamp.decode(), _KINDS[kind], data)
            number += 1


def gap_piece(timestamp: str, why: str) -> TimestampedPiece:
    """Return the marker of a gap; the writer gives it its number."""
    return TimestampedPiece(timestamp, LineKind.GAP, gap_data(Gap(first=0, last=0, why=why)))


def _refusal(count: int) -> str:
    lines = "1 line: it is" if count == 1 else f"{count:,} lines: they are"
    return f"The disk refused {lines} not kept. Free some space (RETENTION_DAYS)."


class LogWriter:
    """The one writer of a log. Opening cuts off a half-written record and counts what is there."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        self._path, self._max_bytes = path, max_bytes
        self._refused = 0
        """Lines that the disk refused and no marker stands for yet."""
        self._size = 0  # bytes of whole records in the file
        self._bytes = 0  # bytes of the log as text
        self._gaps: list[Gap] = []
        self.number = 0
        """The last line's number."""
        self.newest: str | None = None
        """The stamp of the last line that did not come from Slipway itself."""
        with path.open("rb") as file:
            for line in lines(file, 0, 1):
                self.number = line.number
                self._bytes += stored_bytes(line.kind, line.data)
                self._size += len(record(line.timestamp, line.kind, line.data))
                if line.kind in _SOURCE_KINDS:
                    self.newest = line.timestamp
                if line.kind is LineKind.GAP:
                    self._gaps.append(gap_of(line.data))
        self.full = bool(self._gaps) and self._gaps[-1].why.startswith(_FULL)
        """Whether `max_bytes` was passed: nothing more is kept."""
        os.ftruncate(self._file, self._size)

    def append(self, pieces: Sequence[TimestampedPiece]) -> int:
        """Append lines; return how many were kept. Past `max_bytes` one marker is kept and nothing after it.

        Raises `OSError` where the disk refuses them; then none of them is kept, and they can be given again.
        """
        if self.full:
            return 0
        number, size, newest, disk = self.number, self._bytes, self.newest, self._size
        records: list[bytes] = []
        gaps: list[Gap] = []
        full = False
        if self._refused and pieces:
            pieces = [gap_piece(pieces[0].timestamp, _refusal(self._refused)), *pieces]
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
            records.append(record(timestamp, kind, data))
            if full:
                break
            if kind in _SOURCE_KINDS:
                newest = timestamp
        self._write(b"".join(records))
        kept = number - self.number
        self.number, self._bytes, self.newest, self.full = number, size, newest, full
        self._gaps += gaps
        if pieces:
            self._refused = 0
        return kept

    def give_up(self, count: int) -> None:
        """Note that the disk refused lines: a marker that counts them goes before the next ones it takes."""
        if not self.full:
            self._refused += count

    def mark_refused(self, timestamp: str) -> None:
        """Mark lines that the disk refused and that none will follow. Raises `OSError` where it still refuses."""
        if count := self._refused:
            self._refused = 0
            try:
                self.gap(timestamp, _refusal(count))
            except OSError:
                self._refused = count
                raise

    def gap(self, timestamp: str, why: str) -> None:
        """Mark that lines are missing here."""
        self.append([gap_piece(timestamp, why)])

    def kept(self) -> ResumePoint:
        """Return how far the log's source is kept: what it takes to ask it for the rest."""
        with self._path.open("rb") as file:
            pieces = (TimestampedPiece(*line[1:]) for line in lines(file, 0, 1))
            return resume_point_of(self.newest, pieces)

    def receipt(self, *, ended: bool) -> Receipt:
        """Return what is kept so far; complete only where the log has ended and nothing is missing."""
        gaps = tuple(self._gaps)
        if self._refused:
            gaps += (Gap(first=self.number + 1, last=self.number + 1, why=_refusal(self._refused)),)
        return Receipt(lines=self.number, bytes=self._bytes, complete=ended and not gaps, gaps=gaps)

    def close(self) -> None:
        """Write all to the disk itself and let go of the file."""
        os.fsync(self._file)
        os.close(self._file)

    def _write(self, records: bytes) -> None:
        written = 0
        try:
            while written < len(records):
                written += os.write(self._file, records[written:])
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += written
