"""The local engine's pause switch: a file beside the archived runs, so that a pause survives restarts."""

from __future__ import annotations

import logging
from pathlib import Path

from launcher.domain.errors import ArchiveUnavailable

log = logging.getLogger(__name__)


class PauseSwitch:
    """Holds the queue, or lets it continue."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.paused = False

    def load(self) -> None:
        """Read what the launcher before this one stored."""
        self.paused = self._path.is_file()
        if self._path.is_dir():
            log.error("%s", self._obstructed())

    def set(self, paused: bool) -> None:
        """Store the switch's position. Raises `ArchiveUnavailable`, or `OSError`, if it cannot be stored."""
        if self._path.is_dir():
            raise ArchiveUnavailable(self._obstructed())
        if paused:
            self._path.touch()
        else:
            self._path.unlink(missing_ok=True)
        self.paused = paused

    def _obstructed(self) -> str:
        return f"The queue cannot be paused or resumed: {self._path} is a folder. Remove it, then try again."
