"""An open artifact: its name, its size when it was opened, and its content."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor, Future


class ArtifactFile:
    """A regular file, read through its descriptor in the pool's threads. Always close it."""

    def __init__(self, descriptor: int, name: str, readers: Executor) -> None:
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._readers = readers
        self._reading: Future[bytes] | None = None
        found = os.fstat(descriptor)
        self.name = name
        self.size = found.st_size
        self.modified = found.st_mtime
        self.etag = (
            f'"{found.st_ino:x}-{found.st_size:x}-{found.st_ctime_ns:x}"'  # a run can set the mtime, but not the ctime
        )

    async def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from an offset, or fewer at the end of the file. Raises `OSError`."""
        self._reading = self._readers.submit(os.pread, self._file.fileno(), length, offset)
        return await asyncio.wrap_future(self._reading)

    def close(self) -> None:
        """Close the file, after a read that is under way: the descriptor's number could be reused before that."""
        if self._reading is None:
            self._file.close()
        else:
            self._reading.add_done_callback(lambda _: self._file.close())
