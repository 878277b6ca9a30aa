"""Checks the folders that settings name, and explains in a sentence why one cannot be used."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def why_not_writable(name: str, folder: Path) -> str | None:
    """Create the folder, and write, sync and lock a file in it. Ignores a full disk, which /health reports."""
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
    """List the folder."""
    try:
        with os.scandir(folder):
            return None
    except NotADirectoryError:
        return f"{name}: {folder} is not a folder"
    except OSError as exc:
        return f"{name}: {folder} is not readable: {exc.strerror}"
