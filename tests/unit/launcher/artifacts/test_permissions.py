"""Files and folders that deny their owner access are still counted, served and removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.artifacts import ArtifactFolder, safe_open
from launcher.artifacts.folder import too_many_bytes
from launcher.domain.errors import ArtifactForbidden, ArtifactNotFound
from launching.run_folder import SECRET, discovered, excess, text_of


@contextmanager
def as_unprivileged_user() -> Iterator[Path]:
    """Run as an unprivileged user, because root can read everything; yield a folder of that user."""
    directory = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(directory, 10001, 10001)
            os.seteuid(10001)
        yield directory
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(directory)


def test_unreadable_folders_are_counted_and_removed() -> None:
    with as_unprivileged_user() as directory:
        artifacts = ArtifactFolder(directory, max_bytes=1024, max_files=100)
        at = artifacts.make("r")
        for name in ("a/b/c", "lists/only", "enters/only", "read/only"):
            (at / name).mkdir(parents=True)
            (at / name / "x").write_bytes(bytes(300))
        for name, mode in (("a/b/c", 0), ("a/b", 0), ("a", 0), ("lists", 0o400), ("enters", 0o100), ("read", 0o500)):
            (at / name).chmod(mode)
        at.chmod(0)
        assert excess(artifacts) == too_many_bytes(1024)
        assert discovered(artifacts, x_url="x") == {"x_url": "enters/only/x"}
        for name in ("a/b", "a", "enters", "read"):
            (at / name).chmod(0)
        assert asyncio.run(artifacts.delete("r"))
        assert not at.exists()


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="O_PATH exists only on Linux")
@pytest.mark.parametrize("openat2", [True, False])
def test_unreadable_file_is_listed_and_served(monkeypatch: pytest.MonkeyPatch, openat2: bool) -> None:
    use_openat2 = openat2 and safe_open.kernel_resolves()
    monkeypatch.setattr(safe_open, "kernel_resolves", lambda: use_openat2)
    with as_unprivileged_user() as directory:
        artifacts = ArtifactFolder(directory)
        at = artifacts.make("r")
        (at / "sub").mkdir()
        (at / "sub/CV.md").write_text("mine")
        (at / "sub/CV.md").chmod(0o070)
        (directory / "outside").write_text(SECRET)
        (directory / "outside").chmod(0)
        (at / "link").symlink_to("../outside")
        os.mkfifo(at / "pipe", 0)
        (at / "folder").mkdir(0)
        assert discovered(artifacts, cv_md_url="CV.md") == {"cv_md_url": "sub/CV.md"}
        assert text_of(artifacts, "sub/CV.md") == b"mine"
        assert (at / "sub/CV.md").stat().st_mode & 0o777 == 0o470
        for name in ("link", "folder/x", "pipe"):
            with pytest.raises((ArtifactNotFound, ArtifactForbidden)):
                text_of(artifacts, name)
        assert [path.stat().st_mode & 0o777 for path in (directory / "outside", at / "pipe")] == [0, 0]


def test_unreadable_file_of_another_user_is_forbidden() -> None:
    with as_unprivileged_user() as directory:
        if os.getuid() != 0:
            pytest.skip("only root can create a file of another user")
        artifacts = ArtifactFolder(directory)
        at = artifacts.make("r")
        os.seteuid(0)
        (at / "CV.md").touch(0o600)
        os.seteuid(10001)
        with pytest.raises(ArtifactForbidden):
            text_of(artifacts, "CV.md")
        assert (at / "CV.md").stat().st_mode & 0o777 == 0o600


def test_removal_reports_that_files_are_left() -> None:
    with as_unprivileged_user() as directory:
        if os.getuid() != 0:
            pytest.skip("only root can create a folder of another user")
        artifacts = ArtifactFolder(directory)
        (artifacts.make("r") / "mine").touch()
        os.seteuid(0)
        (artifacts.of("r") / "roots").mkdir(mode=0o755)
        (artifacts.of("r") / "roots/x").touch()
        os.seteuid(10001)
        assert not asyncio.run(artifacts.delete("r"))
        assert [path.name for path in artifacts.of("r").iterdir()] == ["roots"]
