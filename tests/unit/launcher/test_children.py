"""A pipeline as a child of this process, below a shim or as a process group: its exit code, its end, its children."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from launcher.engines.children import Child, GroupChild, ShimmedChild
from launcher.engines.marks import kill_leftovers, marks_of, processes_of
from launcher.engines.shim import descendants, kill_descendants

T = TypeVar("T")
KINDS = [GroupChild, *([ShimmedChild] if sys.platform == "linux" else [])]
linux = pytest.mark.skipif(sys.platform != "linux", reason="Subreapers are Linux's.")


def pipeline(kind: type[GroupChild | ShimmedChild], folder: Path, grace_seconds: float = 0.2) -> Child:
    return kind(marks_of(secrets.token_hex(8), folder), grace_seconds)


def played(act: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(10):
            return await act()

    return asyncio.run(bounded())


async def start(child: Child, command: Sequence[str], folder: Path) -> None:
    with (folder / "output").open("wb") as output:
        await child.start(command, folder, {"PATH": os.environ["PATH"]}, output.fileno())


async def printed(folder: Path) -> int:
    while not (text := (folder / "output").read_text()).endswith("\n"):
        await asyncio.sleep(0.01)
    return int(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 255", 255), ("kill -SEGV $$", -11)])
def test_the_exit_code_is_the_pipelines_own(
    kind: type[GroupChild | ShimmedChild], tmp_path: Path, script: str, code: int
) -> None:
    async def act() -> int:
        child = pipeline(kind, tmp_path)
        await start(child, ["sh", "-c", script], tmp_path)
        exit_code = await child.wait()
        await child.stop()
        return exit_code

    assert played(act) == code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("program", "error"), [("./nothing", FileNotFoundError), ("./output", PermissionError)])
def test_a_command_that_cannot_be_started_is_an_os_error(
    kind: type[GroupChild | ShimmedChild], tmp_path: Path, program: str, error: type[OSError]
) -> None:
    with pytest.raises(error):
        played(lambda: start(pipeline(kind, tmp_path), [program], tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_comes_with_sigterm_and_takes_what_was_started_along(
    kind: type[GroupChild | ShimmedChild], tmp_path: Path
) -> None:
    async def act() -> tuple[int, int]:
        child = pipeline(kind, tmp_path)
        await start(child, ["sh", "-c", "sleep 60 & echo $!; wait"], tmp_path)
        started = await printed(tmp_path)
        await child.stop()
        return started, await child.wait()

    started, exit_code = played(act)
    assert exit_code == -signal.SIGTERM
    assert not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE


@linux
def test_a_pipeline_has_default_signals_and_no_file_but_its_own(tmp_path: Path) -> None:
    async def act() -> None:
        child = pipeline(ShimmedChild, tmp_path)
        await start(
            child, ["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l"], tmp_path
        )
        await child.wait()
        await child.stop()

    played(act)
    blocked, ignored, files = (tmp_path / "output").read_text().splitlines()
    assert int(blocked.split()[1], 16) == 0
    assert not any(int(ignored.split()[1], 16) >> number - 1 & 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))
    assert int(files) == 4  # the three of every program, and the folder that `ls` reads


@linux
def test_a_run_whose_launcher_is_lost_is_found_by_its_marks(tmp_path: Path) -> None:
    async def act() -> tuple[int, int, int]:
        marks = marks_of(secrets.token_hex(8), tmp_path)
        child = GroupChild(marks, 0)
        await start(child, ["sleep", "60"], tmp_path)
        before = len(processes_of(marks))
        await kill_leftovers(marks)
        return before, len(processes_of(marks)), await child.wait()

    assert played(act) == (1, 0, -signal.SIGKILL)


@linux
def test_what_is_spared_or_older_is_no_descendant_to_kill(tmp_path: Path) -> None:
    async def act() -> None:
        shell = await asyncio.create_subprocess_exec("sh", "-c", "sleep 60 & wait", start_new_session=True)
        deadline = time.monotonic() + 5
        while len(descendants(shell.pid)) < 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        below = descendants(os.getpid())
        (sleeping,) = descendants(shell.pid)
        assert {shell.pid, sleeping} <= below.keys()
        assert not {shell.pid, sleeping} & descendants(os.getpid(), exempt={shell.pid}).keys()
        assert kill_descendants(shell.pid, since=below[sleeping] + 1) == {}
        assert kill_descendants(shell.pid, exempt={sleeping}) == {}
        assert kill_descendants(shell.pid) == {sleeping: below[sleeping]}
        await shell.wait()

    played(act)
