"""The measurements. Each alternates between both sides, so that other load on the machine affects both."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import psutil
import yaml
from httpx_sse import connect_sse

from checkers.collecting import check_log
from checkers.findings import report
from checkers.printing import command as printer
from checkers.queue import QueuedRun, QueueHistory, Spread, idle_seconds
from checkers.watching import Watched, Watcher
from launcher.stores.archive import Archive
from launching.installation import PIPELINE_IMAGE, Installation
from tests.bench import plain
from tests.bench.browsing import browser
from tests.bench.footprint import footprint
from tests.bench.images import archive_of, layers_on_base
from tests.bench.queue import queue
from tests.bench.row import Row, spread

LINES = 300_000
RUNS, SLOTS = 15, 3
IDLE_SECONDS = 20.0
CLOCK = re.compile(r"\d+\.\d+")
PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"command": ["sh", "-c", "echo hello"], "artifacts": {}},
    "clock": {"command": ["date", "+%s.%N"], "artifacts": {}},
    "three-seconds": {"command": ["sleep", "3"], "artifacts": {}},
    "chatty": {"command": printer(LINES), "artifacts": {}},
    "bundled": {
        "image": PIPELINE_IMAGE,
        "command": ["sh", "-c", "echo; exec python scripts/run_pipeline.py --job-id 4711"],
        "artifacts": {},
    },
}
SETTINGS = {"MAX_LOG_BYTES": str(1 << 30)}
"""Settings of the measured installation, in addition to the tests' defaults."""
_PATIENCE_SECONDS = 300.0
_GOAL_MB = 95
_GOAL_IMAGE_MB = 150
_GOAL_START_SECONDS = 1.0
Measurement = Callable[[Installation, int], list[Row]]


def first_line(site: Installation, repeats: int) -> list[Row]:
    """From `POST /jobs/run` to the pod's own first line at an SSE client, against kubectl with the same pod.

    The line is the time at which it was printed, by the node's clock; the rest is what the log takes to arrive. The
    kubelet checks its containers once a second and serves no log before that. Each measurement starts at a random
    moment of that second, because the previous one finished right after such a check.
    """
    ours, theirs, our_prints, their_prints = [], [], [], []
    for n in range(repeats):
        time.sleep(random.random())
        at, began = time.time(), time.monotonic()
        run_id = site.launcher.run(f"first-{n}", pipeline="clock")["run_id"]
        with connect_sse(site.launcher.client, "GET", f"/jobs/{run_id}/logs") as stream:
            lines = (event.data for event in stream.iter_sse() if event.event == "message")
            line = next((data for data in lines if CLOCK.fullmatch(data)), None)
            ours.append(time.monotonic() - began)
        assert line, f"the stream of {run_id} ended without the pod's line"
        our_prints.append(float(line) - at)
        site.launcher.wait(run_id)
        manifest = plain.like_a_run(site, run_id, f"plain-{n}")
        time.sleep(random.random())
        at = time.time()
        took, line = plain.first_line(site.cluster, site.namespace, manifest)
        theirs.append(took)
        their_prints.append(float(line) - at)
    received = f"Slipway {spread(ours)}, kubectl {spread(theirs)}"
    printed = f"Slipway {spread(our_prints)}, kubectl {spread(their_prints)}"
    return [
        Row(name="first line", value=median(ours) / median(theirs), unit="x kubectl", detail=received, goal=0.4),
        Row(
            name="first line printed", value=median(our_prints) / median(their_prints), unit="x kubectl", detail=printed
        ),
    ]


def makespan(site: Installation, repeats: int) -> list[Row]:
    """15 runs of 3 s in 3 slots, from the first request to the end of the last pod, against a quota alone."""
    ours, theirs, our_idle, their_idle = [], [], [], []
    for turn in range(max(1, round(repeats / 8))):
        with site.watcher() as watcher:
            began = time.monotonic()
            queued = []
            for n in range(RUNS):
                run_id = site.launcher.run(f"span-{turn}-{n}", pipeline="three-seconds")["run_id"]
                queued.append(QueuedRun(run_id=run_id, queued_at=n, queued=time.time()))
            our_idle += _idle(watcher, queued)
            ours.append(time.monotonic() - began)
        for run in queued:
            site.launcher.wait(run.run_id)
        with (
            plain.namespace_with_quota(site.cluster, SLOTS) as namespace,
            Watcher(plain.kubectl_of(site.cluster, namespace), namespace, "bench") as watcher,
        ):
            manifests = [plain.job(f"span-{n:02d}", ["sleep", "3"]) for n in range(RUNS)]
            text = yaml.safe_dump_all(manifests)
            began = time.monotonic()
            site.cluster.kubectl("create", f"--namespace={namespace}", "--filename=-", input=text)
            at = time.time()
            names = [manifest["metadata"]["name"] for manifest in manifests]
            their_idle += _idle(watcher, [QueuedRun(run_id=name, queued_at=0, queued=at) for name in names])
            theirs.append(time.monotonic() - began)
    idle = [Spread.of(our_idle), Spread.of(their_idle)]
    slots = "; ".join(
        f"{who} p50 {each.p50:.2f} s, p95 {each.p95:.2f} s, n={each.count}"
        for who, each in zip(("Slipway", "quota alone"), idle, strict=True)
    )
    detail = f"Slipway {spread(ours)}, quota alone {spread(theirs)}"
    return [
        Row(name="makespan", value=median(ours) / median(theirs), unit="x quota alone", detail=detail, goal=0.45),
        Row(name="a free slot waits", value=idle[0].p95, unit="s at p95", detail=slots),
    ]


def lines_stored(site: Installation, repeats: int) -> list[Row]:
    """How fast 120-byte lines of one chatty pod reach the archive, against kubectl reading the same lines.

    The node's log file is large enough that no line is rotated away. Afterwards the log checker checks every line.
    """
    archive = Archive(site.data / "archive")
    run_ids, stored, recorded, theirs = [], [], [], []
    with site.cluster.log_rotation("200Mi"):
        for n in range(max(1, round(repeats / 5))):
            run_id = site.launcher.run(f"chatty-{n}", pipeline="chatty")["run_id"]
            first = _wait_for_line(archive, run_id, 2)
            stored.append(LINES / (_wait_for_line(archive, run_id, LINES + 2) - first))
            site.launcher.wait(run_id, seconds=120)
            recorded.append(LINES / (time.monotonic() - first))
            theirs.append(LINES / _kubectl_seconds(site, run_id))
            run_ids.append(run_id)
    for run_id in run_ids:
        findings = check_log(site, run_id, LINES)
        assert not findings, report(findings)
    ratio = [ours / kubectl for ours, kubectl in zip(stored, theirs, strict=True)]
    detail = f"({min(stored):,.0f}-{max(stored):,.0f}, n={len(stored)}); until recorded {spread(recorded, 'lines/s')}"
    against = f"kubectl logs | wc -l: {spread(theirs, 'lines/s')}"
    return [
        Row(name="lines stored", value=median(stored), unit="lines/s", detail=detail, goal=40_000, at_least=True),
        Row(name="lines stored", value=median(ratio), unit="x kubectl", detail=against),
    ]


def memory(site: Installation, repeats: int) -> list[Row]:
    """Resident memory and processor share of an idle launcher and an idle operator.

    The launcher is measured twice: before and after its first stream with a ticket.
    """
    assert site.launcher.process is not None
    assert site.operator.process is not None
    processes = {
        "launcher": psutil.Process(site.launcher.process.pid),
        "operator": psutil.Process(site.operator.process.pid),
    }
    before = {name: _cpu_seconds(process) for name, process in processes.items()}
    time.sleep(IDLE_SECONDS)
    rows = []
    for name, process in processes.items():
        share = 100 * (_cpu_seconds(process) - before[name]) / IDLE_SECONDS
        rows.append(_memory_row(f"{name}, idle", process, f"{share:.1f} % of a core"))
    run_id = site.launcher.run("ticket", pipeline="hello")["run_id"]
    answer = site.launcher.client.post(f"/jobs/{run_id}/ticket").raise_for_status().json()
    site.launcher.client.get(f"/jobs/{run_id}/logs", params={"ticket": answer["ticket"]}).raise_for_status()
    site.launcher.wait(run_id)
    rows.insert(1, _memory_row("launcher, idle", processes["launcher"], "after a stream with a ticket"))
    return rows


def pipeline_image(site: Installation, repeats: int) -> list[Row]:
    """What the bundled pipeline's image adds to its base, and how soon its container prints a line.

    A node pulls the layers compressed. A shell prints a line first. The time from that line to the pipeline's own
    first line, by the node's timestamps, is what the pipeline takes to start.
    """
    pulled, unpacked = layers_on_base(archive_of(PIPELINE_IMAGE))
    started = []
    for n in range(max(3, round(repeats / 3))):
        run_id = site.launcher.run(f"start-{n}", pipeline="bundled")["run_id"]
        site.launcher.wait(run_id)
        first, second = site.kubectl("logs", f"job/{run_id}", "--timestamps").splitlines()[:2]
        assert "Using the profile" in second, second
        started.append((_stamp(second) - _stamp(first)).total_seconds())
    size = f"compressed, as a node pulls it; {unpacked / 1e6:,.0f} MB unpacked"
    return [
        Row(name="pipeline image on its base", value=pulled / 1e6, unit="MB", detail=size, goal=_GOAL_IMAGE_MB),
        Row(
            name="pipeline's first line",
            value=median(started),
            unit="s after its container starts",
            detail=spread(started),
            goal=_GOAL_START_SECONDS,
        ),
    ]


MEASUREMENTS: dict[str, Measurement] = {
    "memory": memory,
    "footprint": footprint,
    "first-line": first_line,
    "makespan": makespan,
    "lines": lines_stored,
    "image": pipeline_image,
    "browser": browser,
    "queue": queue,
}


def _memory_row(name: str, process: psutil.Process, detail: str) -> Row:
    return Row(name=name, value=process.memory_info().rss / 1e6, unit="MB", detail=detail, goal=_GOAL_MB)


def _stamp(line: str) -> datetime:
    return datetime.fromisoformat(line.split(" ", 1)[0])


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    used: float = times.user + times.system
    return used


def _idle(watcher: Watcher, queued: Sequence[QueuedRun]) -> list[float]:
    """Wait until all runs have finished; return how long free slots stayed idle. Earlier runs' pods may still exist."""
    mine = {run.run_id for run in queued}

    def all_finished(watched: Watched) -> bool:
        return mine <= {pod.run_id for pod in watched.pods if pod.phase in ("Succeeded", "Failed")}

    watched = watcher.wait_until(all_finished, _PATIENCE_SECONDS)
    pods = [pod for pod in watched.pods if pod.run_id in mine]
    return idle_seconds(QueueHistory(limit=SLOTS, runs=queued, pods=pods))


def _wait_for_line(archive: Archive, run_id: str, number: int) -> float:
    end = time.monotonic() + _PATIENCE_SECONDS
    while archive.last_number(run_id) < number:
        if time.monotonic() > end:
            raise TimeoutError(f"{run_id}: {archive.last_number(run_id)} of {number} lines")
        time.sleep(0.02)
    return time.monotonic()


def _kubectl_seconds(site: Installation, run_id: str) -> float:
    """Return how long `kubectl logs | wc -l` takes for the same lines, of the finished pod."""
    kubectl = plain.kubectl_of(site.cluster, site.namespace)
    began = time.monotonic()
    with subprocess.Popen([*kubectl, "logs", f"job/{run_id}"], stdout=subprocess.PIPE) as process:
        counter = ["wc", "-l"]
        counted = subprocess.run(
            counter, stdin=process.stdout, capture_output=True, check=True, timeout=_PATIENCE_SECONDS
        ).stdout
    took = time.monotonic() - began
    assert int(counted) == LINES + 1, counted
    return took
