"""Converts between a file's name on disk, which is arbitrary bytes, and its text in records, URLs and messages."""

from __future__ import annotations

import os
import posixpath
import re

from launcher.domain.errors import OutsideFolder

_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f])")


def text_of(name: str) -> str:
    """Return the text for a name from `os`: bytes that are not UTF-8 are escaped, like `\\xfc`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def names_for(text: str) -> list[bytes]:
    """Return the names on disk that a text may represent: the text itself, then with each `\\xfc` unescaped."""
    try:
        literal = text.encode()
    except UnicodeEncodeError:
        return []
    unescaped = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), literal)
    return [literal] if unescaped == literal else [literal, unescaped]


def relative(path: str) -> str:
    """Return a path without `.` and `..`. Raises `OutsideFolder` if it is absolute, leaves the folder, or has a NUL."""
    plain = posixpath.normpath(path)
    if "\0" in path or plain.startswith("/") or plain == ".." or plain.startswith("../"):
        raise OutsideFolder
    return plain
