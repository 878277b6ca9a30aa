"""The archive: the log and the record of every run, as files. It is the source of truth for both.

`ROOT/<run_id>/log` holds one record per line (see `log_file`). `ROOT/<run_id>/run.json` is replaced atomically.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from math import inf
from pathlib import Path
from typing import BinaryIO

from launcher.domain.errors import ArchiveUnavailable
from launcher.domain.log_lines import LogLine, as_text
from launcher.domain.names import is_run_id
from launcher.domain.runs import Run, supersedes
from launcher.stores.log_file import LogWriter, lines, open_log, records
from launcher.stores.log_index import LogIndex

log = logging.getLogger(__name__)
_MAX_RECORD_BYTES = 4 << 20
_TEXT_BYTES = 128 << 10  # a block of a log's text


class Archive:
    """All logs and run records in one folder.

    Methods that read a log raise `ArchiveUnavailable` if the disk fails. They take longer the longer the log is, so an
    event loop calls them in a thread.
    """

    def __init__(self, root: Path, max_log_bytes: int = 64 << 20) -> None:
        self._root = root
        self._max_log_bytes = max_log_bytes
        root.mkdir(parents=True, exist_ok=True)
        self._index = lru_cache(maxsize=512)(LogIndex)
        self.unreadable: set[str] = set()
        """The runs whose record could not be read at the last attempt."""

    def writer(self, run_id: str) -> LogWriter:
        """Open a log for writing. This reads the whole log. Raises `OSError`."""
        return LogWriter(self._log(run_id), self._max_log_bytes)

    def read(self, run_id: str, after: int, limit: int = 1000, max_bytes: float = inf) -> list[LogLine]:
        """Return the lines after number `after`: up to `limit` of them, and none after they have `max_bytes`."""
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
        """Yield the whole log as text, in blocks, so that a slow reader uses the memory of one block."""
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
        """Write the run's record to disk if it supersedes the stored one; return whether it was written.

        Raises `OSError` if it cannot be written. A record that cannot be read is replaced.
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
        """Return the run from its record; None if it has none, or it cannot be read."""
        try:
            found = Run.from_json(_record(self._root / run_id / "run.json"))
            if found.run_id != run_id:
                raise ValueError(f"it belongs to run {found.run_id}")
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except (OSError, ValueError) as exc:
            if run_id not in self.unreadable:  # log it once
                log.error("run %s: cannot read its record: %s", run_id, exc)
            self.unreadable.add(run_id)
            return None
        self.unreadable.discard(run_id)
        return found

    def runs(self, *, without: Container[str] = ()) -> Iterable[Run]:
        """Yield every run, in no particular order, except those `without` contains."""
        with os.scandir(self._root) as entries:
            names = [entry.name for entry in entries if is_run_id(entry.name)]
        self.unreadable.intersection_update(names)
        for name in names:
            if name not in without and (run := self.get(name)):  # it may have been deleted in the meantime
                yield run

    def delete(self, run_id: str) -> None:
        """Delete a run's log, then its record, so that a deletion that was interrupted can be repeated."""
        with suppress(IsADirectoryError, NotADirectoryError):
            self._log(run_id).unlink(missing_ok=True)
        shutil.rmtree(self._root / run_id, ignore_errors=True)

    @contextmanager
    def _reading(self, run_id: str) -> Iterator[BinaryIO]:
        """Open a log for reading. A log that does not exist is empty."""
        path = self._log(run_id)
        try:
            with _open_log_or_nothing(path) as file:
                yield file
        except OSError as exc:
            raise ArchiveUnavailable(f"Cannot read the log: {exc.strerror}. Check ARCHIVE_DIR.") from exc

    def _log(self, run_id: str) -> Path:
        return self._root / run_id / "log"


def _clear(path: Path) -> None:
    """Make room for a file. A folder, which somebody made, is renamed rather than deleted."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_suffix(f".set-aside-{time.time_ns()}"))
    else:
        path.unlink(missing_ok=True)


def _record(path: Path) -> bytes:
    """Read a record's file. Raises `ValueError` if it is not a regular file, or too large."""
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
