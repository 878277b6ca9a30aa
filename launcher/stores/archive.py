"""The archive: the truth of every log and, beside it, of every run, on files.

`ROOT/<run_id>/log` holds one record a line (see `logfile`); `ROOT/<run_id>/run.json` is replaced whole, by renaming.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import BinaryIO

from launcher.domain.errors import ConfigurationError
from launcher.domain.log_lines import LogLine, as_text
from launcher.domain.names import is_run_id
from launcher.domain.runs import Run, supersedes
from launcher.stores.log_file import BLOCK, LogWriter, lines

log = logging.getLogger(__name__)
_MAX_RECORD_BYTES = 4 << 20
_STRIDE = 256  # lines between two entries of a log's index
_TEXT_BYTES = 128 << 10


@contextmanager
def claim(root: Path) -> Iterator[None]:
    """Hold the archive for this process alone; a killed one lets go of it by itself.

    A second launcher (local engine) would take the first one's runs for lost; a second operator (Kubernetes engine)
    would write every log twice. Raises `ConfigurationError` where another holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another process writes to {root}: end it, or give this one its own ARCHIVE_DIR."
            raise ConfigurationError(message) from None
        yield


class Archive:
    """All logs and run records below one folder."""

    def __init__(self, root: Path, max_log_bytes: int = 64 << 20) -> None:
        self._root = root
        self._max_log_bytes = max_log_bytes
        root.mkdir(parents=True, exist_ok=True)
        self._index = lru_cache(maxsize=512)(_Index)
        self.unreadable: set[str] = set()
        """Runs whose record could not be read when it was last looked at."""

    def writer(self, run_id: str) -> LogWriter:
        """Open a log for writing."""
        return LogWriter(self._log(run_id), self._max_log_bytes)

    def read(self, run_id: str, after: int, limit: int = 1000, max_bytes: float = inf) -> list[LogLine]:
        """Return lines with numbers above `after`: up to `limit`, and none after `max_bytes` are reached."""
        try:
            with self._log(run_id).open("rb") as file:
                offset, number = self._index(run_id).find(file, after + 1)
                found: list[LogLine] = []
                size = 0
                for line in lines(file, offset, number):
                    if line.number > after:
                        found.append(line)
                        size += len(line.data)
                        if len(found) >= limit or size >= max_bytes:
                            break
                return found
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
                for line in lines(file, 0, 1, _TEXT_BYTES):  # a slow reader holds one block, and little else
                    block += as_text(line.kind, line.data)
                    if len(block) >= _TEXT_BYTES:
                        yield bytes(block)
                        block.clear()
                yield bytes(block)
        except FileNotFoundError:
            return

    def has_log(self, run_id: str) -> bool:
        """Say whether a log is kept."""
        return self._log(run_id).exists()

    def put(self, run: Run) -> bool:
        """Keep the run's state if it supersedes what is kept; say whether it was kept. On the disk when it returns.

        Raises `OSError` where the disk refuses it. A record that cannot be read is replaced.
        """
        text = run.to_json() + b"\n"
        if not supersedes(run, self.get(run.run_id)):
            return False
        path = self._root / run.run_id / "run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.is_dir():  # not ours: set aside rather than deleted
            path.rename(path.with_suffix(f".set-aside-{time.time_ns()}"))
        new.replace(path)
        self.unreadable.discard(run.run_id)
        return True

    def get(self, run_id: str) -> Run | None:
        """Return the run as it was last kept; None where nothing is, or nothing that can be read."""
        try:
            found = Run.from_json(_record(self._root / run_id / "run.json"))
            if found.run_id != run_id:
                raise ValueError(f"it is the record of {found.run_id}")
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except (OSError, ValueError) as exc:
            if run_id not in self.unreadable:  # once is enough
                log.error("the record of run %s cannot be read: %s", run_id, exc)
            self.unreadable.add(run_id)
            return None
        self.unreadable.discard(run_id)
        return found

    def runs(self) -> Iterable[Run]:
        """Return every run there is, in the order of nothing."""
        with os.scandir(self._root) as entries:
            names = [entry.name for entry in entries if is_run_id(entry.name)]
        self.unreadable.intersection_update(names)
        for name in names:
            if run := self.get(name):  # it may be forgotten while we look
                yield run

    def delete(self, run_id: str) -> None:
        """Forget a run and its log; the record goes last, so that a deletion that was interrupted is finished later."""
        with suppress(IsADirectoryError, NotADirectoryError):
            self._log(run_id).unlink(missing_ok=True)
        shutil.rmtree(self._root / run_id, ignore_errors=True)

    def _log(self, run_id: str) -> Path:
        return self._root / run_id / "log"


def _record(path: Path) -> bytes:
    """Read a record; what is no file of a record's size is not even tried, as it might never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_RECORD_BYTES:
            raise ValueError("it is no file of a record's size")
        return os.read(descriptor, _MAX_RECORD_BYTES)
    finally:
        os.close(descriptor)


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
        block = file.read(BLOCK)
        at = 0
        while (newline := block.find(b"\n", at)) >= 0:
            at = newline + 1
            self._newlines += 1
            if self._newlines % _STRIDE == 0:
                self._offsets.append(self._scanned + at)
        self._scanned += at
        return at > 0
