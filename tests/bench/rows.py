"""The measurements. Each repeats both sides in turn, so that a busy moment of the machine meets both."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import yaml
from httpx_sse import connect_sse

from bench import plain
from bench.row import Row, spread
from checkers.printing import command as printer
from checkers.queue import QueuedRun, QueueHistory, Spread, idle_seconds
from checkers.watching import Watched, Watcher
from launcher.stores.archive import Archive
from launching.installation import Installation

LINES = 300_000
RUNS, SLOTS = 15, 3
IDLE_SECONDS = 20.0
PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"command": ["sh", "-c", "echo hello"], "artifacts": {}},
    "three-seconds": {"command": ["sleep", "3"], "artifacts": {}},
    "chatty": {"command": printer(LINES), "artifacts": {}},
}
_PATIENCE_SECONDS = 300.0
Measurement = Callable[[Installation, int], list[Row]]


def first_line(site: Installation, repeats: int) -> list[Row]:
    """From `POST /jobs/run` to the pod's own first line at an SSE client, against kubectl with the very same pod."""
    ours, theirs = [], []
    for n in range(repeats):
        began = time.monotonic()
        run_id = site.launcher.run(f"first-{n}", pipeline="hello")["run_id"]
        with connect_sse(site.launcher.client, "GET", f"/jobs/{run_id}/logs") as stream:
            next(event for event in stream.iter_sse() if event.event == "message" and event.data == "hello")
            ours.append(time.monotonic() - began)
        site.launcher.wait(run_id)
        manifest = plain.like_a_run(site, run_id, f"plain-{n}")
        theirs.append(plain.first_line_seconds(site.cluster, site.namespace, manifest))
    detail = f"Slipway {spread(ours)}, kubectl {spread(theirs)}"
    return [Row(name="first line", value=median(ours) / median(theirs), unit="x kubectl", detail=detail, goal=0.4)]


def makespan(site: Installation, repeats: int) -> list[Row]:
    """15 runs of 3 s in 3 slots, from the first request to the last pod's end, against a quota alone."""
    ours, theirs, our_idle, their_idle = [], [], [], []
    for turn in range(max(1, repeats // 8)):
        with site.watcher() as watcher:
            began = time.monotonic()
            queued = []
            for n in range(RUNS):
                run_id = site.launcher.run(f"span-{turn}-{n}", pipeline="three-seconds")["run_id"]
                queued.append(QueuedRun(run_id=run_id, queued_at=n, queued=time.time()))
            our_idle += _idle(watcher, queued)
            ours.append(time.monotonic() - began)
        with plain.namespace_with_quota(site.cluster, SLOTS) as namespace:
            kubectl = [*map(str, site.cluster.kubectl_command), "--kubeconfig", str(site.cluster.kubeconfig)]
            with Watcher(kubectl, namespace, "bench") as watcher:
                began = time.monotonic()
                manifests = [plain.job(f"span-{n:02d}", ["sleep", "3"]) for n in range(RUNS)]
                site.cluster.kubectl(
                    "create", f"--namespace={namespace}", "--filename=-", input=yaml.safe_dump_all(manifests)
                )
                at = time.time()
                names = [manifest["metadata"]["name"] for manifest in manifests]
                their_idle += _idle(watcher, [QueuedRun(run_id=name, queued_at=0, queued=at) for name in names])
                theirs.append(time.monotonic() - began)
    idle = [Spread.of(our_idle), Spread.of(their_idle)]
    detail = f"Slipway {spread(ours)}, quota alone {spread(theirs)}"
    slots = "; ".join(
        f"{who} p50 {each.p50:.2f} s, p95 {each.p95:.2f} s"
        for who, each in zip(("Slipway", "quota alone"), idle, strict=True)
    )
    return [
        Row(name="makespan", value=median(ours) / median(theirs), unit="x quota alone", detail=detail, goal=0.45),
        Row(name="a free slot waits", value=idle[0].p95, unit="s at p95", detail=slots),
    ]


def lines_stored(site: Installation, repeats: int) -> list[Row]:
    """Lines of 120 bytes of one chatty pod, from the first to the last in the archive, against kubectl reading them."""
    archive = Archive(site.data / "archive")
    ours, theirs = [], []
    with site.cluster.log_rotation("200Mi"):
        for n in range(max(1, repeats // 5)):
            run_id = site.launcher.run(f"chatty-{n}", pipeline="chatty")["run_id"]
            first = _reached(archive, run_id, 2)
            ours.append(LINES / (_reached(archive, run_id, LINES + 2) - first))
            run = site.launcher.wait(run_id, seconds=120)
            assert run["log"]["complete"] and run["log"]["lines"] == LINES + 2, run
            theirs.append(LINES / _kubectl_seconds(site, run_id))
    detail = f"kubectl logs | wc -l {median(theirs):,.0f} lines/s, ratio {median(ours) / median(theirs):.2f}"
    goal = 40_000
    return [Row(name="lines stored", value=median(ours), unit="lines/s", detail=detail, goal=goal, at_least=True)]


def memory(site: Installation, repeats: int) -> list[Row]:
    """Resident memory and share of a core of launcher and operator that have nothing to do."""
    assert site.launcher.process is not None
    assert site.operator.process is not None
    rows = []
    for name, pid in (("launcher", site.launcher.process.pid), ("operator", site.operator.process.pid)):
        process = psutil.Process(pid)
        share = process.cpu_percent(IDLE_SECONDS)
        size = process.memory_info().rss / 1e6
        rows.append(Row(name=f"{name}, idle", value=size, unit="MB", detail=f"{share:.1f} % of a core", goal=95))
    return rows


MEASUREMENTS: dict[str, Measurement] = {
    "memory": memory,
    "first-line": first_line,
    "makespan": makespan,
    "lines": lines_stored,
}


def _idle(watcher: Watcher, queued: Sequence[QueuedRun]) -> list[float]:
    def all_over(watched: Watched) -> bool:
        return len({pod.run_id for pod in watched.pods if pod.phase in ("Succeeded", "Failed")}) == len(queued)

    watched = watcher.wait_until(all_over, _PATIENCE_SECONDS)
    return idle_seconds(QueueHistory(limit=SLOTS, runs=queued, pods=watched.pods))


def _reached(archive: Archive, run_id: str, number: int) -> float:
    end = time.monotonic() + _PATIENCE_SECONDS
    while archive.last_number(run_id) < number:
        if time.monotonic() > end:
            raise TimeoutError(f"{run_id}: {archive.last_number(run_id)} of {number} lines")
        time.sleep(0.02)
    return time.monotonic()


def _kubectl_seconds(site: Installation, run_id: str) -> float:
    kubectl = [*map(str, site.cluster.kubectl_command), "--kubeconfig", str(site.cluster.kubeconfig)]
    began = time.monotonic()
    with subprocess.Popen(
        [*kubectl, "logs", f"--namespace={site.namespace}", f"job/{run_id}"], stdout=subprocess.PIPE
    ) as process:
        counted = subprocess.run(["wc", "-l"], stdin=process.stdout, capture_output=True, check=True).stdout
    assert int(counted) == LINES + 1, counted
    return time.monotonic() - began


def settings(directory: Path) -> dict[str, str]:
    """Return what an installation that is measured needs beside the tests' defaults."""
    return {"MAX_LOG_BYTES": str(1 << 30), "LOG_BUFFER_LIMIT": "500", "HOME": str(directory)}
