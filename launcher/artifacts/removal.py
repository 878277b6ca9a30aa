"""Removes a folder with all its contents in bounded time, however deep or unreadable a run has made it.

Nested folders are first moved to the top level, so paths stay short and two descriptors are enough.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from itertools import count, islice

from launcher.artifacts.safe_open import open_folder

_BATCH = 1000  # entries listed before they are removed, because a folder must not change while it is listed
_ALL_RIGHTS = 0o700


class Removal:
    """One attempt of at most `seconds`. The next one continues with the rest."""

    def __init__(self, place: int, name: str, *, seconds: float, stopped: Callable[[], bool]) -> None:
        self._place, self._name, self._stopped = place, name, stopped
        self._deadline = time.monotonic() + seconds
        self._token, self._numbers = secrets.token_hex(8), count()

    def run(self) -> bool:
        """Remove the folder; return whether it is gone."""
        try:
            top = open_folder(self._place, self._name, _ALL_RIGHTS)
        except FileNotFoundError:
            return True
        except OSError:  # a link or a file in its place
            return self._try(os.unlink, self._name, self._place)
        try:
            while not self._over() and self._remove_some(top, top):
                pass
        finally:
            os.close(top)
        return self._try(os.rmdir, self._name, self._place)

    def _remove_some(self, folder: int, top: int) -> bool:
        """Remove a batch of a folder's entries; return whether any was removed."""
        try:
            with os.scandir(folder) as entries:
                batch = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(entries, _BATCH)]
        except OSError:
            return False
        removed = 0
        for name, is_folder in batch:
            if self._over():
                return False
            if not is_folder:
                removed += self._try(os.unlink, name, folder)
            elif folder == top:
                removed += self._remove_folder(name, top)
            else:
                removed += self._move_up(name, folder, top)
        return removed > 0

    def _remove_folder(self, name: str, top: int) -> bool:
        try:
            folder = open_folder(top, name, _ALL_RIGHTS)
        except OSError:
            return False
        try:
            while self._remove_some(folder, top):
                pass
        finally:
            os.close(folder)
        return self._try(os.rmdir, name, top)

    def _move_up(self, name: str, folder: int, top: int) -> bool:
        with contextlib.suppress(OSError):  # moving a folder requires write permission on it
            os.close(open_folder(folder, name, _ALL_RIGHTS))
            os.rename(name, f"{self._token}-{next(self._numbers)}", src_dir_fd=folder, dst_dir_fd=top)
            return True
        return False

    def _try(self, remove: Callable[..., None], name: str, place: int) -> bool:
        try:
            remove(name, dir_fd=place)
        except OSError:
            return False
        return True

    def _over(self) -> bool:
        return time.monotonic() > self._deadline or self._stopped()
