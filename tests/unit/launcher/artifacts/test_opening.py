"""A run's folder is untrusted: whatever it contains is opened beneath it, or refused, and blocks nothing."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.artifacts import ArtifactFolder, safe_open
from launcher.domain.errors import ArtifactNotFound, OutsideFolder, StoreUnavailable
from launching.run_folder import MAX_SECONDS, RUN, SECRET, descriptors, discovered, excess, text_of


def link_out(at: Path) -> None:
    (at / "CV.md").symlink_to(at.parent.parent / "secret")


def link_inside(at: Path) -> None:
    (at / "other").write_text("mine")
    (at / "CV.md").symlink_to("other")


def link_loop(at: Path) -> None:
    (at / "CV.md").symlink_to("CV.md")


def link_as_folder(at: Path) -> None:
    (at / "CV.md").symlink_to("/etc")


def link_to_proc_self(at: Path) -> None:
    (at / "CV.md").symlink_to("/proc/self/environ")


def fifo(at: Path) -> None:
    os.mkfifo(at / "CV.md")


def unix_socket(at: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(at)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("CV.md")
    finally:
        os.fchdir(here)
        os.close(here)


def device(at: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can create devices")
    os.mknod(at / "CV.md", 0o20666, os.makedev(1, 5))


def folder_of_that_name(at: Path) -> None:
    (at / "CV.md").mkdir()


def nothing(at: Path) -> None:
    pass


SHAPES = [
    *(link_out, link_inside, link_loop, link_as_folder, link_to_proc_self),
    *(fifo, unix_socket, device, folder_of_that_name, nothing),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_non_regular_files_are_not_served_and_block_nothing(
    artifacts: ArtifactFolder, shape: Callable[[Path], None]
) -> None:
    shape(artifacts.of("r"))
    before = descriptors()
    began = time.monotonic()
    for name in ("CV.md", "./CV.md", "sub/../CV.md", "CV.md/"):
        with pytest.raises(ArtifactNotFound):
            text_of(artifacts, name)
    assert discovered(artifacts, cv_md_url="CV.md") == {}
    assert excess(artifacts) == ""
    assert time.monotonic() - began < MAX_SECONDS
    assert descriptors() <= before + 2  # the pools' own
    assert asyncio.run(artifacts.delete("r"))
    assert (artifacts.of("r").parent.parent / "secret").read_text() == SECRET
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    "name", ["..", "../secret", "a/../../../secret", "/etc/passwd", "//etc/passwd", "CV.md\0", "\0"]
)
def test_path_outside_folder_is_refused_before_anything_is_opened(artifacts: ArtifactFolder, name: str) -> None:
    with pytest.raises(OutsideFolder):
        text_of(artifacts, name)


@pytest.mark.parametrize("name", ["", ".", "a", "a/b/x", "x" * 256, "x/" * 3000, "\ud800", "CV.md/x"])
def test_path_to_no_file_is_not_found(artifacts: ArtifactFolder, name: str) -> None:
    (artifacts.make("r") / "a").mkdir()
    (artifacts.make("r") / "CV.md").touch()
    with pytest.raises(ArtifactNotFound):
        text_of(artifacts, name)


def test_links_in_a_path_are_not_followed(artifacts: ArtifactFolder) -> None:
    (artifacts.of("r") / "way").symlink_to("..")
    (artifacts.of("r") / "real").mkdir()
    (artifacts.of("r") / "real/CV.md").write_text("mine")
    (artifacts.of("r") / "there").symlink_to("real")
    for name in ("way/r/real/CV.md", "there/CV.md"):
        with pytest.raises(ArtifactNotFound):
            text_of(artifacts, name)
    assert text_of(artifacts, "there/../real/CV.md") == b"mine"


def test_run_folder_that_is_a_link_is_not_followed(artifacts: ArtifactFolder) -> None:
    artifacts.of("r").rmdir()
    artifacts.of("r").symlink_to("..")
    with pytest.raises(ArtifactNotFound):
        text_of(artifacts, "secret")
    assert discovered(artifacts, x_url="secret") == {}
    assert asyncio.run(artifacts.delete("r"))
    assert (artifacts.of("r").parent.parent / "secret").exists()


def test_other_mounts_are_not_entered(artifacts: ArtifactFolder) -> None:
    point = artifacts.of("r") / "mount"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", point], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount")
    try:
        (point / "CV.md").write_text("elsewhere")
        with pytest.raises(ArtifactNotFound):
            text_of(artifacts, "mount/CV.md")
        assert discovered(artifacts, cv_md_url="CV.md") == {}
        assert not asyncio.run(artifacts.delete("r"))
        assert (point / "CV.md").exists()
    finally:
        subprocess.run(["umount", point], check=True)
    assert asyncio.run(artifacts.delete("r"))


@pytest.mark.skipif(sys.platform != "linux", reason="leases exist only on Linux")
def test_write_lease_held_by_the_run_does_not_block(artifacts: ArtifactFolder) -> None:
    path = artifacts.of("r") / "CV.md"
    path.write_text("mine")
    code = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            text_of(artifacts, "CV.md")
        assert time.monotonic() - began < MAX_SECONDS
        holder.stdin.close()
    assert text_of(artifacts, "CV.md") == b"mine"


def test_cancelled_open_leaks_no_descriptor(artifacts: ArtifactFolder) -> None:
    (artifacts.of("r") / "CV.md").write_text("mine")
    before = descriptors()

    async def scenario() -> None:
        for _ in range(200):
            opening = asyncio.create_task(artifacts.open(RUN, "CV.md"))
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        async with asyncio.timeout(5):
            while descriptors() > before + 3:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_missing_openat2_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        ctypes.set_errno(1)  # EPERM, as in a sandbox
        return -1

    monkeypatch.setattr(safe_open, "_syscall", lambda: refused)
    safe_open.kernel_resolves.cache_clear()
    try:
        assert not safe_open.kernel_resolves()
    finally:
        safe_open.kernel_resolves.cache_clear()
