from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from launcher.folders import why_not_readable, why_not_writable


def test_writable_folder_is_created_and_left_empty(tmp_path: Path) -> None:
    assert why_not_writable("ARCHIVE_DIR", tmp_path / "a/b") is None
    assert list((tmp_path / "a/b").iterdir()) == []


def test_unwritable_folder_is_named_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert why_not_writable("ARCHIVE_DIR", file) == f"ARCHIVE_DIR: {file} is not a folder"
    assert "Not a directory" in str(why_not_writable("ARCHIVE_DIR", file / "below"))
    assert "ARCHIVE_DIR: /proc/self is not writable" in str(why_not_writable("ARCHIVE_DIR", Path("/proc/self")))


def test_full_disk_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert why_not_writable("ARCHIVE_DIR", tmp_path) is None


def test_readable_folder_must_exist_and_be_a_folder(tmp_path: Path) -> None:
    assert why_not_readable("PIPELINE_DIR", tmp_path) is None
    assert "No such file or directory" in str(why_not_readable("PIPELINE_DIR", tmp_path / "x"))
    (tmp_path / "x").touch()
    assert why_not_readable("PIPELINE_DIR", tmp_path / "x") == f"PIPELINE_DIR: {tmp_path / 'x'} is not a folder"
