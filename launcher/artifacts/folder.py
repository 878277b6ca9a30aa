"""Finds, measures, opens and deletes the artifacts of all runs, `ROOT/<run_id>/…`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import posixpath
import stat
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import quote

from launcher.artifacts.file import ArtifactFile
from launcher.artifacts.names import names_for, relative, text_of
from launcher.artifacts.removal import Removal
from launcher.artifacts.safe_open import open_file, open_root
from launcher.artifacts.walk import Walk
from launcher.domain.errors import ArtifactForbidden, ArtifactNotFound, SlipwayError, StoreUnavailable
from launcher.domain.runs import Run

DEPTH = 32
"""The most components of a path that is found by a pattern."""
_WALK_SECONDS = 5.0
_REMOVAL_SECONDS = 20.0
_WALKERS, _READERS = 2, 4  # threads; separate, so that folders that keep the walkers busy do not delay downloads
_PREALLOCATED = 1 << 20  # bytes
_BUSY = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE})
"""Errors that do not depend on the path: a lease held by the run, too few descriptors, a failing disk."""
P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)


class ArtifactFolder:
    """The only access to the runs' folders. Its coroutines never block the event loop and are bounded in time."""

    def __init__(self, root: Path, *, max_bytes: int = 256 << 20, max_files: int = 10_000) -> None:
        self._root = root.absolute()
        self._max_bytes, self._max_files = max_bytes, max_files
        self._walkers = ThreadPoolExecutor(_WALKERS, "artifact-walk")
        self._readers = ThreadPoolExecutor(_READERS, "artifact-read")
        self._closed = threading.Event()

    def close(self) -> None:
        """Stop the walks and deletions that are under way."""
        self._closed.set()
        for pool in (self._walkers, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)

    def of(self, run_id: str) -> Path:
        """Return the path of a run's folder, whether it exists or not."""
        return self._root / run_id

    def make(self, run_id: str) -> Path:
        """Create a run's folder."""
        folder = self.of(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    async def discover(self, run_id: str, wanted: Mapping[str, str]) -> dict[str, str]:
        """Find the wanted files (names or patterns by key) anywhere in the run's folder; return their paths by key.

        If several files match, the least deep one is used, then the first by name. Paths are text (see `names`).
        """
        return await _call(self._walkers, self._discover, run_id, wanted)

    async def excess(self, run_id: str) -> str:
        """Return a sentence about the limit that the run's folder exceeds, or "" if it exceeds none."""
        return await _call(self._walkers, self._excess, run_id)

    async def open(self, run: Run, name: str) -> ArtifactFile:
        """Open one of the run's artifacts by its name, or any file by its path in the run's folder.

        Raises `OutsideFolder` if the path leaves the folder, `ArtifactNotFound` if it is not a regular file (links,
        too, wherever they lead), `ArtifactForbidden` if we have no permission to read it, and `StoreUnavailable` if it
        temporarily cannot be opened.
        """
        known = {posixpath.basename(path): path for path in run.artifacts.values()}
        opening = self._readers.submit(self._open, run.run_id, known.get(name, name))
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise

    async def delete(self, run_id: str) -> bool:
        """Delete a run's artifacts; return whether all are gone. The next call continues with the rest."""
        return await _call(self._walkers, self._delete, run_id)

    def _discover(self, run_id: str, wanted: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, tuple[int, str]] = {}
        walk = self._walk(run_id, DEPTH)
        for entry in walk:
            if walk.entries > self._max_files:
                break
            name = text_of(entry.name)
            keys = [key for key, pattern in wanted.items() if name == pattern or fnmatchcase(name, pattern)]
            if keys and entry.is_file(follow_symlinks=False):
                path = "/".join(walk.path_of(entry.name))
                candidate = (walk.depth, text_of(path))
                if os.fsencode(path) in names_for(candidate[1]):  # otherwise this text would not open it
                    found |= {key: min(candidate, found.get(key, candidate)) for key in keys}
        return {key: found[key][1] for key in wanted if key in found}

    def _excess(self, run_id: str) -> str:
        held = 0
        walk = self._walk(run_id, self._max_files + 2)
        for entry in walk:
            if walk.entries > self._max_files:
                return too_many_files(self._max_files)
            with contextlib.suppress(OSError):  # the pipeline renames and deletes files meanwhile
                held += _bytes_of(entry.stat(follow_symlinks=False))
            if held > self._max_bytes:
                return too_many_bytes(self._max_bytes)
        if not walk.complete:
            log.warning("run %s: some of its artifacts could not be counted", run_id)
        return ""

    def _open(self, run_id: str, path: str) -> ArtifactFile:
        plain = relative(path)
        refusal: SlipwayError = ArtifactNotFound()
        for name in names_for(plain):
            try:
                descriptor = self._descriptor(run_id, name)
            except (OSError, ValueError) as exc:
                if isinstance(exc, OSError) and exc.errno in _BUSY:
                    raise StoreUnavailable(
                        f"The artifact is temporarily unavailable ({exc.strerror}). Try again."
                    ) from exc
                if isinstance(exc, PermissionError):
                    refusal = ArtifactForbidden()
                continue
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return ArtifactFile(descriptor, posixpath.basename(plain), self._readers)
            os.close(descriptor)
        raise refusal

    def _descriptor(self, run_id: str, name: bytes) -> int:
        root = open_root(self._root)
        try:
            return open_file(root, os.fsencode(run_id) + b"/" + name)
        finally:
            os.close(root)

    def _delete(self, run_id: str) -> bool:
        try:
            root = open_root(self._root)
        except FileNotFoundError:
            return True
        try:
            return Removal(root, run_id, seconds=_REMOVAL_SECONDS, stopped=self._closed.is_set).run()
        finally:
            os.close(root)

    def _walk(self, run_id: str, depth: int) -> Walk:
        return Walk(self._root, run_id, seconds=_WALK_SECONDS, depth=depth, stopped=self._closed.is_set)


def too_many_files(limit: int) -> str:
    """Return the sentence about a run with more files and folders than the limit."""
    return f"It created more than {limit} files and folders (MAX_ARTIFACT_FILES)."


def too_many_bytes(limit: int) -> str:
    """Return the sentence about a run with larger artifacts than the limit."""
    return f"It wrote more than {limit} bytes (MAX_ARTIFACT_BYTES)."


def artifact_urls(run: Run) -> dict[str, str]:
    """Return the URL paths of a run's artifacts by key, for REST and MongoDB."""
    return {key: f"/artifacts/{run.run_id}/{quote(posixpath.basename(path))}" for key, path in run.artifacts.items()}


def _bytes_of(entry: os.stat_result) -> int:
    """Return the bytes that an entry counts for: its size, or its space on the disk if that is far larger.

    A run can allocate space beyond a file's end. File systems do so, too, for a growing file, up to its size.
    """
    if stat.S_ISDIR(entry.st_mode):
        return 0
    held: int = entry.st_blocks * 512
    return held if held > 2 * entry.st_size + _PREALLOCATED else entry.st_size


def _close(opening: Future[ArtifactFile]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _call(pool: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.wrap_future(pool.submit(work, *args, **kwargs))
