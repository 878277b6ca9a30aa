"""The folder of artifacts: safe names, and files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from slugify import slugify

from pipeline_runner.errors import PipelineError
from pipeline_runner.postings import Posting

UNKNOWN_COMPANY = "unknown-company"
LONGEST_NAME = 80  # characters


def artifact_folder(root: Path, posting: Posting) -> Path:
    """Return ``<root>/<company>/<role>``; names are ASCII letters, digits and hyphens only.

    A role without a usable name becomes ``job-<job id>``.
    """
    company = _slug(posting.company) or UNKNOWN_COMPANY
    role = _slug(posting.title) or f"job-{_slug(posting.job_id) or _digest(posting.job_id)}"
    return root / company / role


def write_artifacts(root: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into the folder, replacing earlier ones.

    All of them are first written completely beside their final names and only then renamed, so that nobody ever
    sees half a file, and a fault while writing leaves the earlier files as they were.

    Raises:
        PipelineError: The folder leads out of `root`, by a symbolic link.
        OSError: The disk is full, or the folder is not writable.
    """
    root, resolved = root.resolve(), folder.resolve()
    if root not in resolved.parents:
        msg = f"The folder {folder} leads out of {root}: remove the symbolic link on its way."
        raise PipelineError(msg)
    resolved.mkdir(parents=True, exist_ok=True)
    writer = uuid.uuid4().hex  # not the process's id, which is 1 in every container
    partial = {name: resolved / f".{name}.{writer}.partial" for name in files}
    try:
        for name, content in files.items():
            _write_through(partial[name], content)
        for name, path in partial.items():
            path.replace(resolved / name)
        _sync_folder(resolved)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    # Not `tempfile`, which keeps the group out: the file gets the permissions that the umask says.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _slug(text: str) -> str:
    # Entities stay text: decoding a numeric one that is out of range would be an error.
    return slugify(text[:500], max_length=LONGEST_NAME, entities=False, decimal=False, hexadecimal=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
