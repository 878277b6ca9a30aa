"""An artifact that is open: its name, its size when it was opened, and its bytes."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor, Future


class ArtifactFile:
    """A regular file, read by its descriptor in threads of the pool. Close it in every case."""

    def __init__(self, descriptor: int, name: str, readers: Executor) -> None:
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._readers = readers
        self._reading: Future[bytes] | None = None
        found = os.fstat(descriptor)
        self.name = name
        self.size = found.st_size
        self.modified = found.st_mtime
        self.etag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_ctime_ns:x}"'  # a run can set mtime, never ctime

    async def read(self, offset: int, length: int) -> bytes:
        """Return up to so many bytes from an offset; fewer only at the file's end. Raises `OSError`."""
        self._reading = self._readers.submit(os.pread, self._file.fileno(), length, offset)
        return await asyncio.wrap_future(self._reading)

    def close(self) -> None:
        """Close it, after the read that is under way: its number could be another file's by then."""
        if self._reading is None:
            self._file.close()
        else:
            self._reading.add_done_callback(lambda _: self._file.close())
