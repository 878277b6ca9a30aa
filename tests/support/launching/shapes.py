"""A pipeline that writes a folder of any shape and prints any bytes: `python shapes.py`, set by PIPELINE_PARAMS.

Each entry of a shape is `[kind, name, amount]`; a name is the Latin-1 text of its bytes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sys
from pathlib import Path

Entry = tuple[str, str, int]
KINDS = ("file", "sparse", "folder", "link", "loop", "fifo", "socket", "deep", "many", "unreadable", "hard link")


def make(folder: Path, entries: list[Entry]) -> None:
    """Create a folder's entries, as far as the file system permits."""
    for kind, name, amount in entries:
        path = os.path.join(os.fsencode(folder), name.encode("latin-1"))
        with contextlib.suppress(OSError):  # the name exists already or is too long
            _make(kind, path, amount)


def _make(kind: str, path: bytes, amount: int) -> None:
    match kind:
        case "file":
            _write(path, bytes(amount))
        case "sparse":
            _write(path, b"")
            os.truncate(path, amount << 30)
        case "folder":
            os.mkdir(path)
            _write(path + b"/CV.md", b"inside")
        case "link":
            os.symlink([b"/etc/passwd", b"/proc/self/environ", b"..", b"/"][amount % 4], path)
        case "loop":
            os.symlink(os.path.basename(path), path)
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path)
        case "deep":
            os.mkdir(path)
            here = os.open(path, os.O_RDONLY)
            for _ in range(amount):
                os.mkdir(b"d", dir_fd=here)
                inner = os.open(b"d", os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = inner
            os.close(here)
        case "many":
            os.mkdir(path)
            for number in range(amount):
                _write(path + b"/%d" % number, b"")
        case "unreadable":
            os.mkdir(path)
            _write(path + b"/CV.md", b"hidden")
            os.chmod(path, 0)
        case "hard link":
            _write(path, b"one of two")
            os.link(path, path + b".2")


def _write(path: bytes, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)


def main() -> None:
    """Do what PIPELINE_PARAMS says."""
    params = json.loads(os.environ["PIPELINE_PARAMS"])
    make(Path(os.environ["APPLICATIONS_DIR"]), json.loads(params["shape"]))
    sys.stdout.buffer.write(base64.b64decode(params["output"]))
    sys.exit(params["exit_code"])


if __name__ == "__main__":
    main()
