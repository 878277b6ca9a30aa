"""The local engine's pause switch: a file in the archive, so that a pause survives restarts."""

from __future__ import annotations

import logging
from pathlib import Path

from launcher.domain.errors import ArchiveUnavailable

log = logging.getLogger(__name__)


class PauseSwitch:
    """Whether the queue is paused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.paused = False

    def load(self) -> None:
        """Read the position that the previous launcher stored."""
        self.paused = self._path.is_file()
        if self._path.is_dir():
            log.error("%s", self._obstructed())

    def set(self, paused: bool) -> None:
        """Pause or resume. Raises `ArchiveUnavailable` or `OSError` if that cannot be stored."""
        if self._path.is_dir():
            raise ArchiveUnavailable(self._obstructed())
        if paused:
            self._path.touch()
        else:
            self._path.unlink(missing_ok=True)
        self.paused = paused

    def _obstructed(self) -> str:
        return f"The queue cannot be paused or resumed: {self._path} is a folder. Remove it, then try again."
