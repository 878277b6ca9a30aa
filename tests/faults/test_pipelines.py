"""Whatever a pipeline does, its run gets the right outcome, a readable log and a correct receipt."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher.domain.log_lines import LineKind, receipt_of
from launcher.stores.archive import Archive
from launching.launcher import Launcher

PROGRAMS = {
    "exit3": "import sys; print('three'); sys.exit(3)",
    "segv": "import os, signal; print('going', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "stubborn": """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('I stay', flush=True))
print('ready', flush=True)
while True: time.sleep(0.1)
""",
    "polite": """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0)))
print('ready', flush=True)
while True: time.sleep(0.1)
""",
    "forks": """
import os, time
print('parent', flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(os.environ['APPLICATIONS_DIR'] + '/daemon.pid', 'w').write(str(os.getpid()))
        while True: time.sleep(0.1)
    os._exit(0)
while not os.path.exists(os.environ['APPLICATIONS_DIR'] + '/daemon.pid'): time.sleep(0.01)
""",
    "grandchildren": """
import subprocess, sys, time
stubborn = 'import signal, time; signal.signal(15, signal.SIG_IGN)\\nwhile True: time.sleep(1)'
child = subprocess.Popen([sys.executable, '-c', stubborn])
print(child.pid, flush=True)
child.wait()
""",
    "megabyte": "import sys; sys.stdout.write('x' * (1 << 20))",
    "redraws": """
import sys, time
for n in range(101):
    sys.stdout.write(f'\\r{n:3d} % |{"#" * (n // 5):20}|')
    sys.stdout.flush()
    time.sleep(0.02)
print()
""",
    "binary": "import sys; sys.stdout.buffer.write(bytes(range(256)) * 20 + b'\\n')",
    "ansi": "print('\\033[31mred\\033[0m <script>alert(1)</script>')",
    "crlf": "import sys; sys.stdout.write('one\\r\\ntwo\\rthree\\r\\n')",
    "chatty": "for n in range(300_000): print(f'{n:06d} ' + 'y' * 112)",
    "endless": "while True: print('y' * 1000)",
    "hoards": """
import os, time
with open(os.environ['APPLICATIONS_DIR'] + '/big', 'wb') as f: f.truncate(8 << 20)
while True: time.sleep(0.1)
""",
    "environment": "import json, os; print(json.dumps(dict(os.environ)))",
    "parameters": "import os; print(os.environ['PIPELINE_PARAMS'])",
    "sleeps": "import time; print('asleep', flush=True); time.sleep(600)",
}


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    pipelines: dict[str, dict[str, Any]] = {
        name: {"command": ["python", "-c", program]} for name, program in PROGRAMS.items()
    }
    pipelines["missing"] = {"command": ["/no/such/program"]}
    with Launcher(
        tmp_path_factory.mktemp("faults"),
        pipelines,
        MAX_LOG_BYTES=str(64 << 20),
        MAX_ARTIFACT_BYTES=str(4 << 20),
        MAX_CONCURRENCY="3",
        OPENAI_API_KEY="for-the-pipeline",
    ) as running:
        yield running


def archive_of(launcher: Launcher) -> Archive:
    return Archive(Path(launcher.directory) / "archive")


def run_to_end(launcher: Launcher, pipeline: str, **options: Any) -> dict[str, Any]:
    run = launcher.run("4711", pipeline=pipeline, **options)
    return launcher.wait(run["run_id"], seconds=60)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def last_kind(launcher: Launcher, run_id: str) -> LineKind | None:
    """Return the kind of the last line that the archive has."""
    archive = archive_of(launcher)
    lines = archive.read(run_id, max(0, archive.last_number(run_id) - 1))
    return lines[-1].kind if lines else None


def assert_receipt_matches_the_log(launcher: Launcher, run: dict[str, Any]) -> None:
    lines = archive_of(launcher).read(run["run_id"], 0, 10_000_000, 1 << 40)
    counted = receipt_of(lines, complete=True)
    assert (run["log"]["lines"], run["log"]["bytes"], run["log"]["complete"]) == (
        counted.lines,
        counted.bytes,
        counted.complete,
    )
    assert len(launcher.log(run["run_id"])) == run["log"]["bytes"]


@pytest.mark.parametrize(
    ("pipeline", "options", "status", "reason", "exit_code"),
    [
        ("exit3", {}, "failed", "PipelineError", 3),
        ("segv", {}, "failed", "KilledBySignal", 139),
        ("killed", {}, "failed", "KilledBySignal", 137),
        ("stubborn", {"timeout_seconds": 1}, "failed", "TimedOut", 137),
        ("polite", {"timeout_seconds": 1}, "failed", "TimedOut", 0),
        ("grandchildren", {"timeout_seconds": 1}, "failed", "TimedOut", 143),
        ("missing", {}, "failed", "CannotStart", None),
        ("hoards", {}, "failed", "ArtifactsTooLarge", 143),
        ("megabyte", {}, "completed", "Completed", 0),
    ],
)
def test_each_way_a_pipeline_exits_has_its_own_outcome(
    launcher: Launcher, pipeline: str, options: dict[str, Any], status: str, reason: str, exit_code: int | None
) -> None:
    run = run_to_end(launcher, pipeline, **options)
    assert (run["status"], run["reason"], run["exit_code"]) == (status, reason, exit_code)
    assert run["message"].endswith(".")
    assert_receipt_matches_the_log(launcher, run)
    lines = launcher.log(run["run_id"]).decode(errors="replace").splitlines()
    assert "Starting pipeline" in lines[0]
    if reason == "CannotStart":
        assert run["message"] in lines[-1]


@pytest.mark.parametrize("pipeline", ["stubborn", "polite", "grandchildren"])
def test_a_cancelled_run_has_no_processes_left(launcher: Launcher, pipeline: str) -> None:
    run_id = launcher.run("4711", pipeline=pipeline)["run_id"]
    until(lambda: len(launcher.log(run_id).splitlines()) >= 2)
    before = {process.pid for process in psutil.process_iter() if run_id in _environment(process)}
    assert before
    assert launcher.client.delete(f"/jobs/{run_id}").status_code == 200
    run = launcher.wait(run_id)
    assert (run["status"], run["reason"]) == ("cancelled", "Cancelled")
    assert not [pid for pid in before if _alive(pid)]
    assert_receipt_matches_the_log(launcher, run)
    assert launcher.client.delete(f"/jobs/{run_id}").json() == run  # a finished run does not change


def test_a_daemon_is_stopped_with_its_run(launcher: Launcher) -> None:
    run = run_to_end(launcher, "forks")
    assert (run["status"], run["exit_code"]) == ("completed", 0)
    pid = int((Path(launcher.directory) / "applications" / run["run_id"] / "daemon.pid").read_text())
    assert not _alive(pid)
    assert_receipt_matches_the_log(launcher, run)


def test_a_megabyte_without_a_newline_is_streamed_in_marked_parts(launcher: Launcher) -> None:
    run = run_to_end(launcher, "megabyte")
    assert launcher.log(run["run_id"]).splitlines()[1] == b"x" * (1 << 20)
    parts = [data for number, name, data in launcher.events(run["run_id"]) if name == "message"][1:]
    assert [part.endswith(" [line continues]") for part in parts] == [True] * (len(parts) - 1) + [False]
    assert "".join(part.removesuffix(" [line continues]") for part in parts) == "x" * (1 << 20)


def test_the_archive_keeps_raw_bytes_and_the_stream_stays_valid(launcher: Launcher) -> None:
    run = run_to_end(launcher, "binary")
    assert launcher.log(run["run_id"]).split(b"\n", 1)[1] == bytes(range(256)) * 20 + b"\n"
    numbers = [int(number) for number, name, _ in launcher.events(run["run_id"]) if name == "message"]
    assert numbers == list(range(1, run["log"]["lines"] + 1))

    run = run_to_end(launcher, "ansi")
    assert "\x1b[31mred\x1b[0m <script>alert(1)</script>" in [data for _, _, data in launcher.events(run["run_id"])]

    run = run_to_end(launcher, "crlf")
    lines = [data for _, name, data in launcher.events(run["run_id"]) if name == "message"]
    assert lines[1:] == ["one", "three"]
    assert launcher.log(run["run_id"]).endswith(b"one\r\ntwo\rthree\r\n")


def test_a_progress_bar_is_streamed_as_it_changes_and_its_last_frame_stays(launcher: Launcher) -> None:
    run_id = launcher.run("1", pipeline="redraws")["run_id"]
    events = launcher.events(run_id)
    frames = [f"{n:3d} % |{'#' * (n // 5):20}|" for n in range(101)]
    assert [data for _, name, data in events if name == "message"][1:] == [frames[-1]]
    partial = [json.loads(data)["text"] for _, name, data in events if name == "partial"]
    assert 2 <= len(partial) <= 20
    assert [frame for frame in frames if frame in partial] == partial  # some of them, in order, without duplicates
    assert launcher.log(run_id).split(b"\n", 1)[1] == "".join(f"\r{frame}" for frame in frames).encode() + b"\n"
    assert_receipt_matches_the_log(launcher, launcher.wait(run_id))


def test_a_flood_of_lines_is_stored_completely(launcher: Launcher) -> None:
    run = run_to_end(launcher, "chatty")
    expected = b"".join(b"%06d " % n + b"y" * 112 + b"\n" for n in range(300_000))
    log = launcher.log(run["run_id"]).split(b"\n", 1)[1]
    assert hashlib.sha256(log).hexdigest() == hashlib.sha256(expected).hexdigest()
    assert run["log"]["lines"] == 300_001
    assert run["log"]["complete"]


def test_past_the_log_limit_one_gap_is_recorded_and_the_pipeline_continues(launcher: Launcher) -> None:
    run_id = launcher.run("4711", pipeline="endless", timeout_seconds=120)["run_id"]
    until(lambda: last_kind(launcher, run_id) is LineKind.GAP, 60)
    assert launcher.status(run_id)["status"] == "running"
    launcher.client.delete(f"/jobs/{run_id}")
    run = launcher.wait(run_id)
    assert run["status"] == "cancelled"
    assert not run["log"]["complete"]
    assert len(run["log"]["gaps"]) == 1
    assert run["log"]["gaps"][0]["from"] == run["log"]["lines"]
    assert (63 << 20) < run["log"]["bytes"] <= (64 << 20) + 200
    assert_receipt_matches_the_log(launcher, run)


def test_the_pipeline_gets_its_own_variables_and_none_of_the_launchers(launcher: Launcher) -> None:
    run = run_to_end(launcher, "environment")
    log = launcher.log(run["run_id"])
    variables = json.loads(log.splitlines()[1])
    assert variables["OPENAI_API_KEY"] == "for-the-pipeline"
    assert "RUNNER_API_SECRET" not in variables
    assert launcher.secret.encode() not in log


def test_params_reach_the_pipeline(launcher: Launcher) -> None:
    run = run_to_end(launcher, "parameters", params={"depth": 3, "name": "Ünï"})
    assert json.loads(launcher.log(run["run_id"]).splitlines()[1]) == {"depth": 3, "name": "Ünï"}


def test_runs_start_in_order_and_never_exceed_the_limit(tmp_path: Path) -> None:
    program = "import time; time.sleep(0.3)"
    with Launcher(tmp_path, {"short": {"command": ["python", "-c", program]}}, MAX_CONCURRENCY="2") as launcher:
        launcher.client.post("/queue/pause")
        run_ids = [launcher.run(str(n), pipeline="short", priority=n % 2)["run_id"] for n in range(8)]
        launcher.client.post("/queue/resume")
        runs = [launcher.wait(run_id) for run_id in run_ids]
    expected = [run["run_id"] for run in sorted(runs, key=lambda run: -(int(run["job_id"]) % 2))]
    by_start = sorted(runs, key=lambda run: run["started_at"])
    assert [run["run_id"] for run in by_start] == expected
    for run in runs:
        together = [o for o in runs if o["started_at"] <= run["started_at"] < o["completed_at"]]
        assert len(together) <= 2


def test_after_a_crash_running_runs_are_lost_and_queued_ones_start(tmp_path: Path) -> None:
    pipelines = {name: {"command": ["python", "-c", PROGRAMS[name]]} for name in ("sleeps", "exit3", "forks")}
    with Launcher(tmp_path, pipelines, MAX_CONCURRENCY="1") as launcher:
        running = launcher.run("1", pipeline="sleeps")["run_id"]
        waiting = launcher.run("2", pipeline="exit3")["run_id"]
        until(lambda: b"asleep" in launcher.log(running))
        left = [process.pid for process in psutil.process_iter() if running in _environment(process)]
        launcher.kill()
        launcher.start()
        lost, started = launcher.wait(running), launcher.wait(waiting)
        assert (lost["status"], lost["reason"], lost["log"]["complete"]) == ("failed", "LauncherLost", False)
        assert [gap["from"] for gap in lost["log"]["gaps"]] == [3]
        assert (started["status"], started["exit_code"]) == ("failed", 3)
        assert left
        assert not [pid for pid in left if _alive(pid)]
        assert_receipt_matches_the_log(launcher, lost)


def test_two_launchers_do_not_touch_each_others_run_with_the_same_id(tmp_path: Path) -> None:
    pipelines = {"sleeps": {"command": ["python", "-c", PROGRAMS["sleeps"]]}}
    with Launcher(tmp_path / "one", pipelines) as one, Launcher(tmp_path / "other", pipelines) as other:
        key = {"Idempotency-Key": "the same"}
        body = {"job_id": "1", "pipeline": "sleeps"}
        (run_id,) = {at.client.post("/jobs/run", json=body, headers=key).json()["run_id"] for at in (one, other)}
        until(lambda: all(b"asleep" in at.log(run_id) for at in (one, other)))
        one.client.delete(f"/jobs/{run_id}")
        assert one.wait(run_id)["status"] == "cancelled"
        assert other.status(run_id)["status"] == "running"


def test_stopping_the_launcher_stops_its_runs_and_records_the_reason(tmp_path: Path) -> None:
    with Launcher(tmp_path, {"sleeps": {"command": ["python", "-c", PROGRAMS["sleeps"]]}}) as launcher:
        run_id = launcher.run("1", pipeline="sleeps")["run_id"]
        until(lambda: b"asleep" in launcher.log(run_id))
        launcher.stop()
        launcher.start()
        run = launcher.status(run_id)
        assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "LauncherLost", 143)


def _environment(process: psutil.Process) -> str:
    try:
        return process.environ().get("SLIPWAY_RUN_ID", "")
    except (psutil.Error, OSError):
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
