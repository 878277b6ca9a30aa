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
linux = pytest.mark.skipif(sys.platform != "linux", reason="Subreapers exist only on Linux.")


def pipeline(kind: type[GroupChild | ShimmedChild], folder: Path, grace_seconds: float = 0.2) -> Child:
    return kind(marks_of(secrets.token_hex(8), folder), grace_seconds)


def run_bounded(act: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(10):
            return await act()

    return asyncio.run(bounded())


async def start(child: Child, command: Sequence[str], folder: Path) -> None:
    with (folder / "output").open("wb") as output:
        await child.start(command, folder, {"PATH": os.environ["PATH"]}, output.fileno())


async def printed_pid(folder: Path) -> int:
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

    assert run_bounded(act) == code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("program", "error"), [("./nothing", FileNotFoundError), ("./output", PermissionError)])
def test_a_command_that_cannot_be_started_is_an_os_error(
    kind: type[GroupChild | ShimmedChild], tmp_path: Path, program: str, error: type[OSError]
) -> None:
    with pytest.raises(error):
        run_bounded(lambda: start(pipeline(kind, tmp_path), [program], tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_end_sends_sigterm_to_the_pipeline_and_its_children(
    kind: type[GroupChild | ShimmedChild], tmp_path: Path
) -> None:
    async def act() -> tuple[int, int]:
        child = pipeline(kind, tmp_path)
        await start(child, ["sh", "-c", "sleep 60 & echo $!; wait"], tmp_path)
        started = await printed_pid(tmp_path)
        await child.stop()
        return started, await child.wait()

    started, exit_code = run_bounded(act)
    assert exit_code == -signal.SIGTERM
    assert not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE


@linux
@pytest.mark.parametrize(
    "script", ["kill -STOP $PPID; exit 3", "kill -STOP $PPID; sleep 1.5; kill -STOP $PPID; exit 3"]
)
def test_a_pipeline_that_stops_its_shim_ends_with_its_own_exit_code(tmp_path: Path, script: str) -> None:
    async def act() -> int:
        child = pipeline(ShimmedChild, tmp_path)
        await start(child, ["sh", "-c", script], tmp_path)
        exit_code = await child.wait()
        await child.stop()
        return exit_code

    assert run_bounded(act) == 3


@linux
def test_a_pipeline_has_default_signals_and_only_its_own_files(tmp_path: Path) -> None:
    async def act() -> None:
        child = pipeline(ShimmedChild, tmp_path)
        await start(
            child, ["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l"], tmp_path
        )
        await child.wait()
        await child.stop()

    run_bounded(act)
    blocked, ignored, files = (tmp_path / "output").read_text().splitlines()
    assert int(blocked.split()[1], 16) == 0
    assert not any(int(ignored.split()[1], 16) >> number - 1 & 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))
    assert int(files) == 4  # the three standard streams, and the folder that `ls` reads


@linux
def test_a_run_of_a_lost_launcher_is_found_by_its_marks(tmp_path: Path) -> None:
    async def act() -> tuple[int, int, int]:
        marks = marks_of(secrets.token_hex(8), tmp_path)
        child = GroupChild(marks, 0)
        await start(child, ["sleep", "60"], tmp_path)
        before = len(processes_of(marks))
        await kill_leftovers(marks)
        return before, len(processes_of(marks)), await child.wait()

    assert run_bounded(act) == (1, 0, -signal.SIGKILL)


@linux
def test_spared_and_older_descendants_are_not_killed(tmp_path: Path) -> None:
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

    run_bounded(act)
