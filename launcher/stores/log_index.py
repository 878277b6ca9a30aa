"""The index of a log file: finds a line without reading the file from its start."""

from __future__ import annotations

import os
import threading
from typing import BinaryIO

from launcher.stores.log_file import BLOCK

_STRIDE = 256  # lines between two entries


class LogIndex:
    """The offset of every 256th line. Grows with the log, and starts again if a shorter file replaced it."""

    def __init__(self, run_id: str) -> None:
        self._lock = threading.Lock()
        self._offsets = [0]
        self._scanned = 0  # bytes of complete records
        self._newlines = 0

    def find(self, file: BinaryIO, number: int) -> tuple[int, int]:
        """Return the offset and number of the last indexed line up to line `number`."""
        with self._lock:
            self._restart_if_replaced(file)
            while len(self._offsets) * _STRIDE < number and self._extend(file):
                pass
            entry = min(max(number - 1, 0) // _STRIDE, len(self._offsets) - 1)
            return self._offsets[entry], entry * _STRIDE + 1

    def count(self, file: BinaryIO) -> int:
        """Return the number of complete records."""
        with self._lock:
            self._restart_if_replaced(file)
            while self._extend(file):
                pass
            return self._newlines

    def _restart_if_replaced(self, file: BinaryIO) -> None:
        if os.fstat(file.fileno()).st_size < self._scanned:
            self._offsets, self._scanned, self._newlines = [0], 0, 0

    def _extend(self, file: BinaryIO) -> bool:
        """Index one more block; return whether it had a complete record."""
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
