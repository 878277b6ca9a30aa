"""A run's files are counted and searched in bounded time, while they change."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import threading
from pathlib import Path

import pytest

from launcher.artifacts import ArtifactFolder, folder
from launcher.artifacts.folder import too_many_bytes, too_many_files
from launching.run_folder import RUN, descriptors, discovered, excess, make_deep


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
