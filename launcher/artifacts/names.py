"""A file's name on the disk, which is any bytes, and the text that stands for it in records, URLs and messages."""

from __future__ import annotations

import os
import posixpath
import re

from launcher.domain.errors import OutsideFolder

_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f])")


def text_of(name: str) -> str:
    """Return the text for a name as `os` gives it: bytes that are not UTF-8 become `\\xfc`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def names_for(text: str) -> list[bytes]:
    """Return the names on the disk that a text may stand for: first itself, then with each `\\xfc` undone."""
    try:
        literal = text.encode()
    except UnicodeEncodeError:
        return []
    undone = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), literal)
    return [literal] if undone == literal else [literal, undone]


def relative(path: str) -> str:
    """Return a path without `.` and `..`. Raises `OutsideFolder` where it is absolute, leads out, or has a NUL."""
    plain = posixpath.normpath(path)
    if "\0" in path or plain.startswith("/") or plain == ".." or plain.startswith("../"):
        raise OutsideFolder
    return plain
