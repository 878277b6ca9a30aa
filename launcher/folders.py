"""Checks the folders in the settings, and explains why one cannot be used."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def why_not_writable(name: str, folder: Path) -> str | None:
    """Return why the folder is not writable; None if it is. A full disk is ignored here and reported by /health.

    Creates the folder, and writes, syncs and locks a file in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileExistsError:
        return f"{name}: {folder} is not a folder"
    except OSError as exc:
        if exc.errno in _FULL:
            return None
        return f"{name}: {folder} is not writable: {exc.strerror}; set another folder, or grant write permission"
    return None


def why_not_readable(name: str, folder: Path) -> str | None:
    """Return why the folder cannot be listed; None if it can."""
    try:
        with os.scandir(folder):
            return None
    except NotADirectoryError:
        return f"{name}: {folder} is not a folder"
    except OSError as exc:
        return f"{name}: {folder} is not readable: {exc.strerror}"
