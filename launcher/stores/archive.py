"""The archive: every log and every run's record, as files. It is the source of truth for both.

`ROOT/<run_id>/log` holds one record per line (see `log_file`). `ROOT/<run_id>/run.json` is replaced atomically.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from math import inf
from pathlib import Path
from typing import BinaryIO

from launcher.domain.errors import ArchiveUnavailable, ConfigurationError
from launcher.domain.log_lines import LogLine, as_text
from launcher.domain.names import is_run_id
from launcher.domain.runs import Run, supersedes
from launcher.stores.log_file import BLOCK, LogWriter, lines, open_log, records

log = logging.getLogger(__name__)
_MAX_RECORD_BYTES = 4 << 20
_STRIDE = 256  # lines between two entries of a log's index
_TEXT_BYTES = 128 << 10  # a block of a log's text


@contextmanager
def claim(root: Path) -> Iterator[None]:
    """Lock the archive for this process; the lock is released when the process ends, even if it is killed.

    A second launcher (local engine) would treat the runs of the first as lost; a second operator (Kubernetes engine)
    would write every log twice. Raises `ConfigurationError` if another process holds the lock.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / ".lock"
    with contextlib.ExitStack() as stack:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another process writes to {root}. Stop it, or give this one its own ARCHIVE_DIR."
            raise ConfigurationError(message) from None
        except OSError as exc:
            message = f"ARCHIVE_DIR: {path} cannot be locked: {exc.strerror}. Remove it, then start again."
            raise ConfigurationError(message) from None
        yield


class Archive:
    """All logs and run records in one folder.

    Reading a log raises `ArchiveUnavailable` if the disk fails. It takes time that grows with the log, so an event loop
    calls it in a thread.
    """

    def __init__(self, root: Path, max_log_bytes: int = 64 << 20) -> None:
        self._root = root
        self._max_log_bytes = max_log_bytes
        root.mkdir(parents=True, exist_ok=True)
        self._index = lru_cache(maxsize=512)(_Index)
        self.unreadable: set[str] = set()
        """Runs whose record could not be read at the last attempt."""

    def writer(self, run_id: str) -> LogWriter:
        """Open a log for writing, which reads all of it. Raises `OSError`."""
        return LogWriter(self._log(run_id), self._max_log_bytes)

    def read(self, run_id: str, after: int, limit: int = 1000, max_bytes: float = inf) -> list[LogLine]:
        """Return lines with numbers above `after`: at most `limit`, and no more once they have `max_bytes`."""
        found: list[LogLine] = []
        with self._reading(run_id) as file:
            offset, number = self._index(run_id).find(file, after + 1)
            size = 0
            for line in lines(islice(records(file, offset), after + 1 - number, None), after + 1):
                found.append(line)
                size += len(line.data)
                if len(found) >= limit or size >= max_bytes:
                    break
        return found

    def last_number(self, run_id: str) -> int:
        """Return the number of the last line; 0 if there is none."""
        with self._reading(run_id) as file:
            return self._index(run_id).count(file)

    def text(self, run_id: str) -> Iterator[bytes]:
        """Yield the whole log as text, in blocks: a slow reader costs the memory of one block."""
        with self._reading(run_id) as file:
            block = bytearray()
            for line in lines(records(file)):
                block += as_text(line.kind, line.data)
                if len(block) >= _TEXT_BYTES:
                    yield bytes(block)
                    block.clear()
            yield bytes(block)

    def has_log(self, run_id: str) -> bool:
        """Return whether the run has a log."""
        return self._log(run_id).exists()

    def put(self, run: Run) -> bool:
        """Write the run's record if it supersedes the current one; return whether it was written, durably.

        Raises `OSError` if the disk refuses it. A record that cannot be read is replaced.
        """
        text = run.to_json() + b"\n"
        if not supersedes(run, self.get(run.run_id)):
            return False
        path = self._root / run.run_id / "run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        _clear(new)
        with new.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.is_dir():
            _clear(path)
        new.replace(path)
        self.unreadable.discard(run.run_id)
        return True

    def get(self, run_id: str) -> Run | None:
        """Return the run from its record; None if there is no record, or it cannot be read."""
        try:
            found = Run.from_json(_record(self._root / run_id / "run.json"))
            if found.run_id != run_id:
                raise ValueError(f"it is the record of run {found.run_id}")
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except (OSError, ValueError) as exc:
            if run_id not in self.unreadable:  # log it once
                log.error("the record of run %s cannot be read: %s", run_id, exc)
            self.unreadable.add(run_id)
            return None
        self.unreadable.discard(run_id)
        return found

    def runs(self) -> Iterable[Run]:
        """Yield every run, in no particular order."""
        with os.scandir(self._root) as entries:
            names = [entry.name for entry in entries if is_run_id(entry.name)]
        self.unreadable.intersection_update(names)
        for name in names:
            if run := self.get(name):  # it may be deleted meanwhile
                yield run

    def delete(self, run_id: str) -> None:
        """Forget a run and its log; the record goes last, so that a deletion that was interrupted is finished later."""
        with suppress(IsADirectoryError, NotADirectoryError):
            self._log(run_id).unlink(missing_ok=True)
        shutil.rmtree(self._root / run_id, ignore_errors=True)

    @contextmanager
    def _reading(self, run_id: str) -> Iterator[BinaryIO]:
        """Open a log for reading. One that does not exist is empty."""
        path = self._log(run_id)
        try:
            with _open_log_or_nothing(path) as file:
                yield file
        except OSError as exc:
            raise ArchiveUnavailable(f"The log cannot be read: {exc.strerror}. Check ARCHIVE_DIR.") from exc

    def _log(self, run_id: str) -> Path:
        return self._root / run_id / "log"


def _clear(path: Path) -> None:
    """Make room for a file. A folder, which somebody made, is renamed rather than deleted."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_suffix(f".set-aside-{time.time_ns()}"))
    else:
        path.unlink(missing_ok=True)


def _record(path: Path) -> bytes:
    """Read a run's record. Raises `ValueError` if it is not a regular file, or too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_RECORD_BYTES:
            raise ValueError("it is not a regular file, or it is too large")
        return os.read(descriptor, _MAX_RECORD_BYTES)
    finally:
        os.close(descriptor)


def _open_log_or_nothing(path: Path) -> BinaryIO:
    try:
        return open_log(path)
    except FileNotFoundError:
        return os.fdopen(os.open(os.devnull, os.O_RDONLY), "rb")


class _Index:
    """The offset of every 256th line of a log. Grows with the log, and starts over if a shorter one replaced it."""

    def __init__(self, run_id: str) -> None:
        self._lock = threading.Lock()
        self._offsets = [0]
        self._scanned = 0  # bytes of whole records
        self._newlines = 0

    def find(self, file: BinaryIO, number: int) -> tuple[int, int]:
        """Return the offset and number of the last indexed line up to `number`."""
        with self._lock:
            self._restart_if_replaced(file)
            while len(self._offsets) * _STRIDE < number and self._extend(file):
                pass
            entry = min(max(number - 1, 0) // _STRIDE, len(self._offsets) - 1)
            return self._offsets[entry], entry * _STRIDE + 1

    def count(self, file: BinaryIO) -> int:
        """Return the number of whole records."""
        with self._lock:
            self._restart_if_replaced(file)
            while self._extend(file):
                pass
            return self._newlines

    def _restart_if_replaced(self, file: BinaryIO) -> None:
        if os.fstat(file.fileno()).st_size < self._scanned:
            self._offsets, self._scanned, self._newlines = [0], 0, 0

    def _extend(self, file: BinaryIO) -> bool:
        """Index one more block; return whether there was a whole record in it."""
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
