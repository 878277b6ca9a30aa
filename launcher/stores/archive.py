"""The archive: the truth of every log and, beside it, of every run, on files.

`ROOT/<run_id>/log` holds one record a line: time stamp, a letter for the kind, the bytes, a newline, so that people
can read it with `less`. Only whole records count: what a killed writer left half-written has no newline and is cut off
when the log is opened again. `ROOT/<run_id>/run.json` is replaced as a whole, by renaming.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from launcher.domain.errors import ConfigurationError
from launcher.domain.loglines import (
    Gap,
    LineKind,
    LogLine,
    LogPosition,
    Receipt,
    as_text,
    gap_data,
    gap_of,
    stored_bytes,
)
from launcher.domain.runs import Run, supersedes

_STRIDE = 256  # lines between two entries of a log's index
_BLOCK = 1 << 20  # bytes read at a time


@contextmanager
def claim(root: Path) -> Iterator[None]:
    """Hold the archive for this process alone; a killed one lets go of it by itself.

    For the local engine: a second launcher would take the first one's runs for lost, and end them. Raises
    `ConfigurationError` where another holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another launcher uses {root}: end it, or give this one its own ARCHIVE_DIR."
            raise ConfigurationError(message) from None
        yield


class LogWriter:
    """The one writer of a log. Opening cuts off a half-written record and counts what is there."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        self._max_bytes = max_bytes
        self._owed: Gap | None = None
        self._full = False
        self._size = 0  # bytes of whole records in the file
        self.position = LogPosition()
        self._bytes = 0
        self._gaps: list[Gap] = []
        with path.open("rb") as file:
            for line in _lines(file, 0, 1):
                self._count(line)
                self._size += len(_record(line.timestamp, line.kind, line.data))
        os.ftruncate(self._file, self._size)

    def append(self, timestamp: str, pieces: Sequence[tuple[LineKind, bytes]]) -> int:
        """Append lines that bear one time stamp; return how many were kept.

        Past `max_bytes` one marker is kept and nothing after it. Where the disk refuses, the lines are given up
        and a marker stands in their place as soon as it takes one again: the pipeline never waits for the disk.
        """
        if self._full:
            return 0
        lines: list[LogLine] = []
        number, size = self.position.number, self._bytes
        if self._owed:
            number += 1
            lines.append(LogLine(number, timestamp, LineKind.GAP, gap_data(self._gap(number, self._owed.why))))
        for kind, data in pieces:
            number += 1
            size += len(data) + 1
            if size > self._max_bytes:
                why = f"The log passed {self._max_bytes} bytes (MAX_LOG_BYTES): what comes after is not kept."
                lines.append(LogLine(number, timestamp, LineKind.GAP, gap_data(self._gap(number, why))))
                break
            lines.append(LogLine(number, timestamp, kind, data))
        records = b"".join(_record(line.timestamp, line.kind, line.data) for line in lines)
        if not self._write(records):
            self._owed = self._gap(0, "The disk refused lines: they are not kept. Free some space (RETENTION_DAYS).")
            return 0
        self._owed = None
        self._full = size > self._max_bytes
        for line in lines:
            self._count(line)
        return len(lines)

    def gap(self, timestamp: str, why: str) -> None:
        """Mark that lines are missing here."""
        self.append(timestamp, [(LineKind.GAP, gap_data(self._gap(self.position.number + 1, why)))])

    def receipt(self, *, ended: bool) -> Receipt:
        """Return what is kept so far; complete only where the log has ended and nothing is missing."""
        gaps = (*self._gaps, self._owed) if self._owed else tuple(self._gaps)
        return Receipt(lines=self.position.number, bytes=self._bytes, complete=ended and not gaps, gaps=gaps)

    def close(self) -> None:
        """Write all to the disk itself and let go of the file."""
        os.fsync(self._file)
        os.close(self._file)

    def _write(self, records: bytes) -> bool:
        written = 0
        try:
            while written < len(records):
                written += os.write(self._file, records[written:])
        except OSError:
            os.ftruncate(self._file, self._size)
            return False
        self._size += written
        return True

    @staticmethod
    def _gap(number: int, why: str) -> Gap:
        return Gap(first=number, last=number, why=why)

    def _count(self, line: LogLine) -> None:
        timestamp, bearing = self.position.timestamp, self.position.bearing
        if line.kind in (LineKind.LINE, LineKind.PART):
            bearing = bearing + 1 if line.timestamp == timestamp else 1
            timestamp = line.timestamp
        elif line.kind is LineKind.GAP:
            self._gaps.append(gap_of(line.data))
        self.position = LogPosition(number=line.number, timestamp=timestamp, bearing=bearing)
        self._bytes += stored_bytes(line.kind, line.data)


class Archive:
    """All logs and run records below one folder."""

    def __init__(self, root: Path, max_log_bytes: int = 64 << 20) -> None:
        self._root = root
        self._max_log_bytes = max_log_bytes
        root.mkdir(parents=True, exist_ok=True)
        self._index = lru_cache(maxsize=512)(_Index)

    def writer(self, run_id: str) -> LogWriter:
        """Open a log for writing."""
        return LogWriter(self._log(run_id), self._max_log_bytes)

    def read(self, run_id: str, after: int, limit: int = 1000) -> list[LogLine]:
        """Return up to `limit` lines with numbers above `after`."""
        try:
            with self._log(run_id).open("rb") as file:
                offset, number = self._index(run_id).find(file, after + 1)
                lines: list[LogLine] = []
                for line in _lines(file, offset, number):
                    if line.number > after:
                        lines.append(line)
                        if len(lines) >= limit:
                            break
                return lines
        except FileNotFoundError:
            return []

    def last_number(self, run_id: str) -> int:
        """Return the number of the last line, 0 where there is none."""
        try:
            with self._log(run_id).open("rb") as file:
                return self._index(run_id).count(file)
        except FileNotFoundError:
            return 0

    def text(self, run_id: str) -> Iterator[bytes]:
        """Yield the whole log as text, in blocks."""
        try:
            with self._log(run_id).open("rb") as file:
                block = bytearray()
                for line in _lines(file, 0, 1):
                    block += as_text(line.kind, line.data)
                    if len(block) >= _BLOCK:
                        yield bytes(block)
                        block.clear()
                yield bytes(block)
        except FileNotFoundError:
            return

    def has_log(self, run_id: str) -> bool:
        """Say whether a log is kept."""
        return self._log(run_id).exists()

    def put(self, run: Run) -> bool:
        """Keep the run's state if it supersedes what is kept; say whether it was kept. On the disk when it returns."""
        if not supersedes(run, self.get(run.run_id)):
            return False
        path = self._root / run.run_id / "run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(run.to_json() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        return True

    def get(self, run_id: str) -> Run | None:
        """Return the run as it was last kept."""
        try:
            return Run.from_json((self._root / run_id / "run.json").read_bytes())
        except FileNotFoundError:
            return None

    def runs(self) -> Iterable[Run]:
        """Return every run there is, in the order of nothing."""
        for path in self._root.glob("*/run.json"):
            with suppress(FileNotFoundError):  # forgotten while we look
                yield Run.from_json(path.read_bytes())

    def delete(self, run_id: str) -> None:
        """Forget a run and its log."""
        shutil.rmtree(self._root / run_id, ignore_errors=True)

    def _log(self, run_id: str) -> Path:
        return self._root / run_id / "log"


class _Index:
    """Where every 256th line of a log begins. Grows with the log; made anew where the log is another one."""

    def __init__(self, run_id: str) -> None:
        self._offsets = [0]
        self._scanned = 0  # bytes looked at, all of whole records
        self._newlines = 0

    def find(self, file: BinaryIO, number: int) -> tuple[int, int]:
        """Return the offset and number of the last indexed line that is not after `number`."""
        if os.fstat(file.fileno()).st_size < self._scanned:
            self._offsets, self._scanned, self._newlines = [0], 0, 0
        while len(self._offsets) * _STRIDE < number and self._extend(file):
            pass
        entry = min(max(number - 1, 0) // _STRIDE, len(self._offsets) - 1)
        return self._offsets[entry], entry * _STRIDE + 1

    def count(self, file: BinaryIO) -> int:
        """Return how many whole records there are."""
        self.find(file, 1)
        while self._extend(file):
            pass
        return self._newlines

    def _extend(self, file: BinaryIO) -> bool:
        file.seek(self._scanned)
        block = file.read(_BLOCK)
        at = 0
        while (newline := block.find(b"\n", at)) >= 0:
            at = newline + 1
            self._newlines += 1
            if self._newlines % _STRIDE == 0:
                self._offsets.append(self._scanned + at)
        self._scanned += at
        return at > 0


def _record(timestamp: str, kind: LineKind, data: bytes) -> bytes:
    return b"%b %b %b\n" % (timestamp.encode(), kind.encode(), data)


_KINDS = {kind.encode(): kind for kind in LineKind}


def _lines(file: BinaryIO, offset: int, number: int) -> Iterator[LogLine]:
    file.seek(offset)
    rest = b""
    while block := file.read(_BLOCK):
        records = (rest + block).split(b"\n")
        rest = records.pop()
        for record in records:
            timestamp, kind, data = record.split(b" ", 2)
            yield LogLine(number, timestamp.decode(), _KINDS[kind], data)
            number += 1
