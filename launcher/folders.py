"""Folders that settings name: what would keep launcher, operator or a pipeline from using one, in a sentence."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def fault_of_writing(name: str, folder: Path) -> str | None:
    """Make the folder, and write, sync and lock a file in it. A full disk is no fault: /health reports it."""
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
        return f"{name}: {folder} cannot be written to: {exc.strerror}; give another folder, or the right to write"
    return None


def fault_of_reading(name: str, folder: Path) -> str | None:
    """Look into the folder."""
    try:
        with os.scandir(folder):
            return None
    except NotADirectoryError:
        return f"{name}: {folder} is not a folder"
    except OSError as exc:
        return f"{name}: {folder} cannot be read: {exc.strerror}"
