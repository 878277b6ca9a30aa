"""The artifacts folder: safe names and atomic writes."""

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
MAX_NAME_LENGTH = 80  # characters


def artifact_folder(root: Path, posting: Posting) -> Path:
    """Return ``<root>/<company>/<role>``; names are ASCII letters, digits and hyphens only.

    A role without a usable name becomes ``job-<job id>``.
    """
    company = _slug(posting.company) or UNKNOWN_COMPANY
    role = _slug(posting.title) or f"job-{_slug(posting.job_id) or _digest(posting.job_id)}"
    return root / company / role


def write_artifacts(root: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into the folder, replacing earlier ones.

    All files are first written under temporary names and then renamed, so that no file is ever seen half-written and
    an error while writing leaves the earlier files unchanged.

    Raises:
        PipelineError: A symbolic link leads out of `root`.
        OSError: The disk is full, or the folder is not writable.
    """
    root, resolved = root.resolve(), folder.resolve()
    if root not in resolved.parents:
        msg = f"The folder {folder} leads out of {root}. Remove the symbolic link in its path."
        raise PipelineError(msg)
    resolved.mkdir(parents=True, exist_ok=True)
    writer = uuid.uuid4().hex  # not the process id, which is the same in every container
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
    # Not `tempfile`, whose files the group cannot read: these permissions follow the umask.
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
    # Entities are not decoded: a numeric one that is out of range would raise an error.
    return slugify(text[:500], max_length=MAX_NAME_LENGTH, entities=False, decimal=False, hexadecimal=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
