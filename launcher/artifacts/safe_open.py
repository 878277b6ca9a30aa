"""Opens files and folders beneath a folder that an untrusted process may change at any moment.

No link is followed, no other mount is entered, and no open blocks, neither on a FIFO nor on a lease. Linux resolves a
path in one call (openat2). On other systems, and if a sandbox denies that call, each component is opened separately,
with the same guarantees.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
FOLDER = FILE | os.O_DIRECTORY
ENTRY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
"""An entry of any kind, to inspect; O_PATH requires no permission on it."""
PLACE = ENTRY | os.O_DIRECTORY
"""A folder to open things beneath."""

_OPENAT2 = 437  # the same number on every architecture
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_root(path: Path) -> int:
    """Return a descriptor of a trusted folder, which may be a link, to open things beneath."""
    return os.open(path, PLACE & ~os.O_NOFOLLOW)


def open_beneath(place: int, path: bytes, flags: int = FILE) -> int:
    """Return a new descriptor for a relative path beneath the folder `place`. Raises `OSError`."""
    return (open_at_once if kernel_resolves() else open_by_components)(place, path, flags)


def open_at_once(place: int, path: bytes, flags: int) -> int:
    """Open with openat2 (Linux 5.6)."""
    _components(path)
    how = _OpenHow(flags=flags, mode=0, resolve=_RESOLVE)
    while True:
        descriptor: int = _syscall()(_OPENAT2, place, path, ctypes.byref(how), ctypes.sizeof(how))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def open_by_components(place: int, path: bytes, flags: int) -> int:
    """Open component by component."""
    *folders, name = _components(path)
    device, at = os.fstat(place).st_dev, os.dup(place)
    try:
        for component, how in [*((folder, PLACE) for folder in folders), (name, flags)]:
            found = os.open(component, how, dir_fd=at)
            os.close(at)
            at = found
            if os.fstat(at).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))  # as openat2 does
    except OSError:
        os.close(at)
        raise
    return at


def open_file(place: int, path: bytes) -> int:
    """Return a new descriptor for reading a relative path beneath the folder `place`. Raises `OSError`.

    A regular file that denies its owner, who is our user, permission to read gets that permission back.
    """
    try:
        return open_beneath(place, path)
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            raise
        _permit(place, path, stat.S_ISREG, 0o400)
        return open_beneath(place, path)


def open_folder(place: int, name: str, permissions: int = 0o500) -> int:
    """Return a descriptor of a folder in the folder `place`.

    A folder that denies its owner, who is our user, these permissions gets them back: what cannot be read cannot be
    counted, found or deleted.
    """
    path = os.fsencode(name)
    try:
        folder = open_beneath(place, path, FOLDER)
    except PermissionError:
        if hasattr(os, "O_PATH"):
            _permit(place, path, stat.S_ISDIR, 0o700)
        else:
            os.chmod(path, 0o700, dir_fd=place, follow_symlinks=False)
        folder = open_beneath(place, path, FOLDER)
    mode = stat.S_IMODE(os.fstat(folder).st_mode)
    if mode & permissions != permissions:
        with contextlib.suppress(OSError):  # not ours, or a read-only mount
            os.fchmod(folder, mode | 0o700)
    return folder


def _permit(place: int, path: bytes, is_expected: Callable[[int], bool], permissions: int) -> None:
    """Add permissions to an entry of the expected kind, through a descriptor that no rename can redirect."""
    entry = open_beneath(place, path, ENTRY)
    try:
        mode = os.fstat(entry).st_mode
        if is_expected(mode):
            os.chmod(f"/proc/self/fd/{entry}", stat.S_IMODE(mode) | permissions)  # noqa: PTH101 - fchmod refuses O_PATH
    finally:
        os.close(entry)


def _components(path: bytes) -> list[bytes]:
    components = path.split(b"/")
    if b"\0" in path or not {b"", b".", b".."}.isdisjoint(components):
        raise ValueError(f"not a plain relative path: {path!r}")
    return components


@cache
def kernel_resolves() -> bool:
    """Whether openat2 works: an old kernel lacks it, and a sandbox may deny it."""
    if sys.platform != "linux":
        return False
    root = os.open("/", PLACE)
    try:
        os.close(open_at_once(root, b"proc", ENTRY))
    except OSError as exc:
        return exc.errno in (errno.ENOENT, errno.EXDEV)  # the call itself works
    finally:
        os.close(root)
    return True


@cache
def _syscall() -> Callable[..., Any]:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
    return call
