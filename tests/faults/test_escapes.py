"""Pipelines that leave processes running and hide them: no process of a run outlives it."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launching.launcher import Launcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Subreapers exist only on Linux.")

PROLOGUE = """
import ctypes, json, os, signal, subprocess, sys, threading, time
libc, token, run = ctypes.CDLL(None), sys.argv[1], os.environ['APPLICATIONS_DIR']
sleeps = 'import time; time.sleep(120)'
end = time.time() + 60  # even if nobody stops it
def ready(): open(run + '/ready', 'w').close()
def detach():
    # Continue as a daemon in its own session, without open files; the pipeline itself continues in `finish`.
    if os.fork(): finish()
    os.setsid()
    if os.fork(): os._exit(0)
    os.closerange(0, 3)
def become_another(name='python'):
    ready()
    os.execve(sys.executable, [name, '-c', sleeps, token], {})
def finish():
    while not os.path.exists(run + '/ready'): time.sleep(0.01)
    print('ready', flush=True)
    if json.loads(os.environ['PIPELINE_PARAMS']).get('stays'): time.sleep(120)
    os._exit(0)
"""
ESCAPES = {
    "daemon": "detach(); become_another()",
    "ignores-sigterm": "detach(); [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]; become_another()",
    "keeps-its-output": """
if os.fork(): finish()
os.setsid()
if os.fork(): os._exit(0)
become_another()
""",
    "own-session": """
subprocess.Popen([sys.executable, '-c', sleeps, token], env={}, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)
ready()
finish()
""",
    "forks-every-10-ms": """
detach()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready()
while time.time() < end:
    if os.fork(): os._exit(0)
    os.setsid()
    time.sleep(0.01)
""",
    "stopped": "detach(); ready(); os.kill(os.getpid(), signal.SIGSTOP)",
    "thread-of-a-zombie": """
detach()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def outlive():
    while open('/proc/self/stat').read().rpartition(')')[2].split()[0] != 'Z': time.sleep(0.01)
    ready()
    time.sleep(120)
threading.Thread(target=outlive).start()
libc.syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)  # exit: of this thread alone
""",
    "parent-of-a-zombie": """
detach()
if os.fork() == 0: os._exit(0)
become_another()
""",
    "renamed": """
detach()
libc.prctl(15, b') Z 1 1 (', 0, 0, 0)
ready()
time.sleep(120)
""",
    "subreaper": """
detach()
libc.prctl(36, 1, 0, 0, 0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork(): time.sleep(120)
os.setsid()
if os.fork(): os._exit(0)
become_another()
""",
    "fork-bomb": """
detach()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
forks, refill = os.pipe()
os.write(refill, bytes(40))
os.set_blocking(forks, False)
ready()
while time.time() < end:
    try: allowed = os.read(forks, 1)
    except BlockingIOError: allowed = b''
    if allowed and os.fork() == 0: os.setsid()
    elif os.fork() == 0: os._exit(0)
    else: os.wait()
""",
    "kills-its-shim": """
shim = os.getppid()
detach()
os.kill(shim, signal.SIGKILL)
become_another()
""",
    "stops-its-shim": """
shim = os.getppid()
detach()
os.kill(shim, signal.SIGSTOP)
become_another()
""",
    "keeps-its-shim-stopped": """
shim = os.getppid()
detach()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready()
while time.time() < end:
    os.kill(shim, signal.SIGSTOP)
    time.sleep(0.0001)
""",
    "forking-chains": """
for n in range(5):
    if os.fork() == 0:
        os.setsid()
        while time.time() < end:
            time.sleep(0.005)
            if os.fork(): os._exit(0)
ready()
finish()
""",
}
ATTACKS_ON_THE_SHIM = {"kills-its-shim", "stops-its-shim", "keeps-its-shim-stopped"}


@pytest.fixture
def token() -> Iterator[str]:
    """A job id in the command line of every process of a run; any that are left are killed after the test."""
    name = f"escape-{secrets.token_hex(6)}"
    yield name
    for _ in range(50):
        if not (left := processes_with(name)):
            return
        for number, pid in itertools.product((signal.SIGSTOP, signal.SIGKILL), left):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def pipelines() -> dict[str, dict[str, Any]]:
    return {
        name: {"command": ["python", "-c", PROLOGUE + program, "{job_id}"], "artifacts": {}}
        for name, program in ESCAPES.items()
    }


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    folder = tmp_path_factory.mktemp("escapes")
    with Launcher(folder, pipelines(), TERMINATION_GRACE_SECONDS="0.3", MAX_ARTIFACT_BYTES="100000") as running:
        yield running


def processes_with(token: str) -> set[int]:
    found = set()
    for file in Path("/proc").glob("[0-9]*/task/*/cmdline"):  # of every thread: the first one may have exited
        with contextlib.suppress(OSError):
            if token.encode() in file.read_bytes():
                found.add(int(file.parts[2]))
    return found


def left_running(token: str) -> set[int]:
    """Look several times: a process that keeps forking is not found every time."""
    return set().union(*(processes_with(token) for _ in range(5)))


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def launch_and_wait(launcher: Launcher, token: str, pipeline: str, **options: Any) -> str:
    """Launch a run that keeps running; return its id once the pipeline and its escaped processes are up."""
    run_id: str = launcher.run(token, pipeline=pipeline, params={"stays": True}, **options)["run_id"]
    until(lambda: b"ready" in launcher.log(run_id))
    until(lambda: len(processes_with(token)) > 2)  # the shim, the pipeline and an escaped process
    return run_id


@pytest.mark.parametrize("pipeline", sorted(ESCAPES.keys() - ATTACKS_ON_THE_SHIM))
def test_a_run_that_completes_leaves_nothing_running(launcher: Launcher, token: str, pipeline: str) -> None:
    run = launcher.wait(launcher.run(token, pipeline=pipeline)["run_id"])
    assert left_running(token) == set()
    assert (run["status"], run["exit_code"]) == ("completed", 0)
    assert launcher.log(run["run_id"]).endswith(b"ready\n")


@pytest.mark.parametrize("pipeline", sorted(ESCAPES.keys() - {"kills-its-shim"}))
def test_a_cancelled_run_leaves_nothing_running(launcher: Launcher, token: str, pipeline: str) -> None:
    run_id = launch_and_wait(launcher, token, pipeline)
    launcher.client.delete(f"/jobs/{run_id}")
    assert launcher.wait(run_id)["status"] == "cancelled"
    assert left_running(token) == set()


def test_a_run_over_its_limits_leaves_nothing_running(launcher: Launcher, token: str) -> None:
    late = launch_and_wait(launcher, token, "ignores-sigterm", timeout_seconds=2)
    large = launch_and_wait(launcher, token, "forks-every-10-ms")
    (launcher.directory / "applications" / large / "large").write_bytes(bytes(200_000))
    reasons = [launcher.wait(run_id)["reason"] for run_id in (late, large)]
    assert left_running(token) == set()
    assert reasons == ["TimedOut", "ArtifactsTooLarge"]


def test_a_run_that_stops_its_shim_times_out(launcher: Launcher, token: str) -> None:
    run = launcher.wait(launcher.run(token, pipeline="stops-its-shim", timeout_seconds=1)["run_id"])
    assert left_running(token) == set()
    assert (run["status"], run["reason"]) == ("failed", "TimedOut")


def test_a_run_that_kills_its_shim_fails_and_leaves_only_other_runs_running(
    launcher: Launcher, token: str, tmp_path: Path
) -> None:
    with Launcher(tmp_path, pipelines()) as other_launcher:
        others = [(at, launch_and_wait(at, f"{token}-other", "daemon")) for at in (launcher, other_launcher)]
        run = launcher.wait(launcher.run(f"{token}-killer", pipeline="kills-its-shim")["run_id"])
        assert left_running(f"{token}-killer") == set()
        assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "KilledBySignal", 137)
        assert [at.status(run_id)["status"] for at, run_id in others] == ["running", "running"]
        assert len(processes_with(f"{token}-other")) == 6
        launcher.client.delete(f"/jobs/{others[0][1]}")
        assert launcher.wait(others[0][1])["status"] == "cancelled"


def test_killing_the_launcher_stops_its_runs_at_once(token: str, tmp_path: Path) -> None:
    names = sorted(
        ESCAPES.keys() - ATTACKS_ON_THE_SHIM, key="fork-bomb".__eq__
    )  # last, because it slows the others down
    with Launcher(tmp_path, pipelines(), MAX_CONCURRENCY=str(len(names)), TERMINATION_GRACE_SECONDS="30") as launcher:
        runs = [launch_and_wait(launcher, token, name) for name in names]
        launcher.kill()
        until(lambda: not left_running(token))
        launcher.start()
        assert {launcher.status(run_id)["reason"] for run_id in runs} == {"LauncherLost"}


def test_a_launcher_restarted_at_once_finds_nothing_running(token: str, tmp_path: Path) -> None:
    with Launcher(tmp_path, pipelines()) as launcher:
        run_id = launch_and_wait(launcher, token, "stops-its-shim")
        launcher.kill()
        launcher.start()
        assert launcher.status(run_id)["reason"] == "LauncherLost"
        assert left_running(token) == set()
