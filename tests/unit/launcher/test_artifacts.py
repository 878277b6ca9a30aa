"""A run's folder is untrusted: whatever it contains is opened beneath it, counted in bounded time, and removed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from launcher.artifacts import ArtifactFolder, artifact_urls, folder, safe_open
from launcher.artifacts.folder import too_many_bytes, too_many_files
from launcher.domain.errors import ArtifactForbidden, ArtifactNotFound, OutsideFolder, StoreUnavailable
from launcher.domain.runs import Run

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
RUN = Run(run_id="r", job_id="1", created_at=AT, updated_at=AT)
SECRET = "the launcher's own"
MAX_SECONDS = 5.0  # seconds; a lease would block for 45, a FIFO forever


@pytest.fixture(params=["openat2", "components"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The folder of all runs, with that of `r`; both ways of opening give the same guarantees."""
    known = safe_open.kernel_resolves()
    if request.param == "openat2" and not known:
        pytest.skip("this kernel, or its sandbox, has no openat2")
    monkeypatch.setattr(safe_open, "kernel_resolves", lambda: request.param == "openat2")
    (tmp_path / "secret").write_text(SECRET)
    found = ArtifactFolder(tmp_path / "applications", max_files=1000)
    found.make("r")
    yield found
    asyncio.run(found.delete("r"))  # some are too deep for pytest to remove
    found.close()


def text_of(artifacts: ArtifactFolder, name: str, run: Run = RUN) -> bytes:
    async def read() -> bytes:
        file = await artifacts.open(run, name)
        try:
            return await file.read(0, 1000)
        finally:
            file.close()

    return asyncio.run(read())


def discovered(artifacts: ArtifactFolder, **wanted: str) -> dict[str, str]:
    return asyncio.run(artifacts.discover("r", wanted))


def excess(artifacts: ArtifactFolder) -> str:
    return asyncio.run(artifacts.excess("r"))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


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


def test_regular_file_with_any_name_is_opened(artifacts: ArtifactFolder) -> None:
    names = ["x" * 255, "new\nline.txt", "quote\"s'.txt", "Über #1?.txt", "a\\b", "\\xfc", " ", "-", "…", "\u202e"]
    for name in names:
        (artifacts.of("r") / name).write_text(name)
        assert text_of(artifacts, name) == name.encode()
    os.link(artifacts.of("r") / " ", artifacts.of("r") / "hard link")
    assert text_of(artifacts, "hard link") == b" "
    wanted = {str(number): name for number, name in enumerate(names)}
    assert discovered(artifacts, **wanted) == wanted


def test_non_utf_8_name_is_listed_and_opened_in_escaped_form(artifacts: ArtifactFolder) -> None:
    raw = os.fsencode(artifacts.of("r"))
    Path(os.fsdecode(raw + b"/f\xfclder")).mkdir()
    for name in (b"M\xfcller.pdf", b"f\xfclder/half-\xed\xa0\xbd.txt"):
        Path(os.fsdecode(raw + b"/" + name)).write_bytes(name)
    found = discovered(artifacts, report_url="*.pdf", half_url="half-*")
    assert found == {"report_url": r"M\xfcller.pdf", "half_url": r"f\xfclder/half-\xed\xa0\xbd.txt"}
    run = Run(run_id="r", job_id="1", created_at=AT, updated_at=AT, artifacts=found)
    assert Run.from_json(run.to_json()) == run
    assert text_of(artifacts, r"M\xfcller.pdf", run) == b"M\xfcller.pdf"
    assert text_of(artifacts, r"half-\xed\xa0\xbd.txt", run) == b"f\xfclder/half-\xed\xa0\xbd.txt"
    assert artifact_urls(run)["report_url"] == "/artifacts/r/M%5Cxfcller.pdf"
    (artifacts.of("r") / r"M\xfcller.pdf").write_text("the literal name comes first")
    assert text_of(artifacts, r"M\xfcller.pdf") == b"the literal name comes first"


def test_file_whose_name_has_no_text_form_is_not_listed(artifacts: ArtifactFolder) -> None:
    Path(os.fsdecode(os.fsencode(artifacts.of("r")) + b"/\\xfc and \xfc.pdf")).touch()
    assert discovered(artifacts, report_url="*.pdf") == {}


def test_pattern_finds_the_shallowest_artifact(artifacts: ArtifactFolder) -> None:
    for name in ("deep/er/report-1.pdf", "deep/report-3.pdf", "deep/report-2.pdf", "odd[1].txt"):
        path = artifacts.of("r") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    wanted = {"report_url": "report-*.pdf", "odd_url": "odd[1].txt", "none_url": "*.docx"}
    assert discovered(artifacts, **wanted) == {"report_url": "deep/report-2.pdf", "odd_url": "odd[1].txt"}
    assert asyncio.run(artifacts.discover("never-made", wanted)) == {}


def make_deep(at: Path, levels: int, *, beside: bool = False) -> None:
    """Create nested folders, deeper than any path can reach. With `beside`, each also has a folder with a file."""
    current = os.open(at, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=current)
        if beside:
            os.mkdir("beside", dir_fd=current)
            os.close(os.open("beside/x", os.O_CREAT | os.O_WRONLY, dir_fd=current))
        deeper = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = deeper
    os.close(os.open("deepest.md", os.O_CREAT | os.O_WRONLY, dir_fd=current))
    os.close(current)


@pytest.mark.parametrize(("levels", "beside"), [(1500, False), (400, True)])
def test_thousands_of_nested_folders_are_counted_searched_and_removed(
    artifacts: ArtifactFolder, levels: int, beside: bool
) -> None:
    make_deep(artifacts.of("r"), levels, beside=beside)
    (artifacts.of("r") / "d/CV.md").touch()
    before = descriptors()
    assert discovered(artifacts, cv_md_url="CV.md", deep_url="deepest.md") == {"cv_md_url": "d/CV.md"}
    assert "MAX_ARTIFACT_FILES" in excess(artifacts)
    assert excess(ArtifactFolder(artifacts.of("r").parent, max_files=levels * 3 + 2)) == ""
    assert asyncio.run(artifacts.delete("r"))
    assert not artifacts.of("r").exists()
    assert descriptors() <= before + 4


def test_message_names_the_exceeded_limit(tmp_path: Path) -> None:
    artifacts = ArtifactFolder(tmp_path, max_bytes=1024, max_files=10)
    at = artifacts.make("r")
    (at / "large").write_bytes(bytes(1024))
    for number in range(9):
        (at / str(number)).touch()
    assert excess(artifacts) == ""
    (at / "10").mkdir()
    assert excess(artifacts) == too_many_files(10)
    (at / "10").rmdir()
    (at / "large").write_bytes(bytes(1025))
    assert excess(artifacts) == too_many_bytes(1024)
    assert asyncio.run(artifacts.excess("never-made")) == ""


def test_sparse_file_counts_by_size_and_preallocated_file_by_disk_space(tmp_path: Path) -> None:
    artifacts = ArtifactFolder(tmp_path, max_bytes=4 << 20)
    with (artifacts.make("r") / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert "MAX_ARTIFACT_BYTES" in excess(artifacts)
    (artifacts.of("r") / "sparse").unlink()
    if sys.platform == "linux":
        with (artifacts.of("r") / "empty").open("wb") as file:
            keep_size = 1
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.fallocate(file.fileno(), keep_size, ctypes.c_int64(0), ctypes.c_int64(8 << 20)):
                pytest.skip("this file system cannot allocate")
        assert (artifacts.of("r") / "empty").stat().st_size == 0
        assert "MAX_ARTIFACT_BYTES" in excess(artifacts)


def test_counting_many_files_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = ArtifactFolder(tmp_path, max_files=10)
    at = artifacts.make("r")
    for number in range(500):
        (at / str(number)).touch()
    looked_at = 0
    count = folder._bytes_of

    def counted(entry: os.stat_result) -> int:
        nonlocal looked_at
        looked_at += 1
        return count(entry)

    monkeypatch.setattr(folder, "_bytes_of", counted)
    assert "MAX_ARTIFACT_FILES" in excess(artifacts)
    assert looked_at == 10
    assert asyncio.run(artifacts.delete("r"))


def test_walk_that_times_out_is_logged_and_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = ArtifactFolder(tmp_path, max_bytes=1)
    (artifacts.make("r") / "CV.md").write_text("more than a byte")
    monkeypatch.setattr(folder, "_WALK_SECONDS", -1.0)
    assert excess(artifacts) == ""
    assert "run r: some of its artifacts could not be counted" in caplog.text
    monkeypatch.setattr(folder, "_REMOVAL_SECONDS", -1.0)
    assert not asyncio.run(artifacts.delete("r"))
    monkeypatch.undo()
    assert asyncio.run(artifacts.delete("r"))


def test_walks_delay_neither_event_loop_nor_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = ArtifactFolder(tmp_path)
    (artifacts.make("r") / "CV.md").write_text("mine")
    gate = threading.Event()
    monkeypatch.setattr(folder.Walk, "__iter__", lambda walk: iter(()) if gate.wait(10) else None)

    async def scenario() -> None:
        walks = [asyncio.create_task(artifacts.excess("r")) for _ in range(20)]
        await asyncio.sleep(0)
        file = await artifacts.open(RUN, "CV.md")
        assert await file.read(0, 10) == b"mine"
        file.close()
        assert not any(walk.done() for walk in walks)
        gate.set()
        await asyncio.gather(*walks)

    asyncio.run(scenario())


def test_walk_completes_while_the_folder_changes(artifacts: ArtifactFolder) -> None:
    at = artifacts.of("r")
    for branch in range(10):
        (at / str(branch)).mkdir()
        make_deep(at / str(branch), 20)
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            for branch in range(10):
                for source, target in ((f"{branch}/d/d", f"{branch}/moved"), (f"{branch}/moved", f"{branch}/d/d")):
                    (at / source).rename(at / target)

    mover = threading.Thread(target=move)
    mover.start()
    before = descriptors()
    try:
        for _ in range(10):
            assert discovered(artifacts, x_url="nowhere") == {}
            excess(artifacts)
        assert descriptors() <= before + 2
    finally:
        stop.set()
        mover.join()
    assert len(discovered(artifacts, deep_url="deepest.md")) == 1
    assert asyncio.run(artifacts.delete("r"))


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
