"""The archive's lock: only one process writes to an archive."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from launcher.domain.errors import ConfigurationError


@contextlib.contextmanager
def lock_archive(root: Path) -> Iterator[None]:
    """Lock the archive for this process. Raises `ConfigurationError` if another process holds the lock.

    A second launcher (local engine) would treat the runs of the first as lost; a second operator (Kubernetes engine)
    would write every log twice. The kernel releases the lock when the process exits, even after SIGKILL.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / ".lock"
    with contextlib.ExitStack() as stack:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another process writes to {root}. Stop it, or give this one its own ARCHIVE_DIR."
            raise ConfigurationError(message) from None
        except OSError as exc:
            message = f"ARCHIVE_DIR: {path} cannot be locked: {exc.strerror}. Remove it, then start again."
            raise ConfigurationError(message) from None
        yield
