"""An iterative, bounded walk through a run's folder, with one open folder at a time.

The run may change the folder meanwhile. Entries that it moves away are skipped, and the walk never leaves the folder:
it goes up only to a folder that it has come down from.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from launcher.artifacts.safe_open import open_folder, open_root


@dataclass
class _Level:
    name: str
    identity: tuple[int, int]
    pending: list[str] = field(default_factory=list)
    """Subfolders that the walk has not entered yet."""


class Walk:
    """Yields each entry below the folder `name` of `root`, in no particular order; none if the folder does not exist.

    Use an entry before you take the next one. `entries` counts the entries so far. `complete` is False if the walk ran
    out of time or depth, or could not read something.
    """

    def __init__(self, root: Path, name: str, *, seconds: float, depth: int, stopped: Callable[[], bool]) -> None:
        self.entries, self.complete = 0, True
        self._root, self._name, self._depth, self._stopped = root, name, depth, stopped
        self._deadline = time.monotonic() + seconds
        self._place = self._at = -1
        self._levels: list[_Level] = []

    @property
    def depth(self) -> int:
        """The number of components of the current entry's path."""
        return len(self._levels)

    def path_of(self, name: str) -> list[str]:
        """Return the components of the current entry's path."""
        return [*(level.name for level in self._levels[1:]), name]

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        """Yield every entry, including links and folders."""
        try:
            self._place = open_root(self._root)
        except OSError as exc:
            self.complete = isinstance(exc, FileNotFoundError)
            return
        self._at, self._levels = os.dup(self._place), []
        try:
            self._enter(self._name)
            while self._levels and not self._over():
                yield from self._entries()
                self._move_on()
        finally:
            os.close(self._at)
            os.close(self._place)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        pending = self._levels[-1].pending
        try:
            with os.scandir(self._at) as entries:
                for entry in entries:
                    if self._over():
                        return
                    self.entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.name)
                    yield entry
        except OSError:
            self.complete = False

    def _over(self) -> bool:
        over = time.monotonic() > self._deadline or self._stopped()
        self.complete = self.complete and not over
        return over

    def _move_on(self) -> None:
        """Enter the next folder, in the current one or one further up. If there is none, no level remains."""
        while self._levels and not self._over():
            level = self._levels[-1]
            if not level.pending:
                self._levels.pop()
                self._go_up()
            elif len(self._levels) >= self._depth:
                level.pending.clear()
                self.complete = False
            elif self._enter(level.pending.pop()):
                return

    def _enter(self, name: str) -> bool:
        try:
            folder = open_folder(self._at, name)
        except (FileNotFoundError, NotADirectoryError):  # moved away or replaced meanwhile
            return False
        except OSError:
            self.complete = False
            return False
        self._replace(folder)
        self._levels.append(_Level(name, _identity(folder)))
        return True

    def _go_up(self) -> None:
        if not self._levels:
            return
        try:
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._at)
        except OSError:
            self._come_down_again()
            return
        self._replace(above)
        if _identity(above) != self._levels[-1].identity:
            self._come_down_again()

    def _come_down_again(self) -> None:
        """Return to the deepest level by its path. If the path has changed, give up the levels below the change."""
        self._replace(os.dup(self._place))
        for index, level in enumerate(self._levels):
            try:
                self._replace(open_folder(self._at, level.name))
            except OSError:
                self.complete = False
                del self._levels[index:]
                return
            level.identity = _identity(self._at)

    def _replace(self, folder: int) -> None:
        os.close(self._at)
        self._at = folder


def _identity(folder: int) -> tuple[int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino
