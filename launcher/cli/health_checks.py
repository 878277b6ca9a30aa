"""The doctor's reading of what the launcher reports about itself at `/health`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.cli.findings import Finding
from launcher.domain import health_problems
from launcher.version import VERSION

RESUME = "To resume it, run: slipway resume"
_STORES = {"redis": "REDIS_URL", "mongodb": "MONGODB_URI"}


def health_findings(health: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for each part of the service, then one for every other problem that the launcher reports."""
    if "max_concurrency" not in health:
        yield Finding("health", "fail", "the answer does not come from a launcher", "Correct RUNNER_URL.")
        return
    yield _version(health.get("version"))
    yield _queue(health)
    for name, setting in _STORES.items():
        yield _store(name, str(health.get(name)), setting)
    yield _engine(str(health.get("engine")), str(health.get("kubernetes")))
    yield from _operator(str(health.get("operator")), health.get("kubernetes") == "away")
    if "archive" in health:
        yield _archive(health["archive"])
    yield from _lost_lines(health.get("lost_lines"))
    for sentence in _unexplained(health.get("problems"), health.get("lost_lines")):
        do = f"See the launcher's log; in a cluster: {_kubectl()} logs deployment/slipway-launcher"
        yield Finding("health", "warn", sentence, do)


def _version(theirs: object) -> Finding:
    if theirs == VERSION:
        return Finding("version", "ok", f"{VERSION}, the same as the launcher's")
    found = f"the launcher is {theirs}" if theirs else "the launcher is too old to report its version"
    return Finding("version", "warn", f"{found}; this command is {VERSION}", "Install the same version on both sides.")


def _queue(health: Mapping[str, Any]) -> Finding:
    slots = f"{health.get('active_runs')} of {health['max_concurrency']} slots in use, {health.get('queued')} queued"
    if health.get("paused"):
        return Finding("queue", "warn", f"paused; {slots}", RESUME)
    return Finding("queue", "ok", slots)


def _unexplained(problems: object, lost: object) -> Iterator[str]:
    """Yield the launcher's problems that no other finding is about."""
    explained = {
        *health_problems.STORE_DOWN.values(),
        *health_problems.ARCHIVE.values(),
        health_problems.KUBERNETES_DOWN,
        health_problems.OPERATOR_DOWN,
    }
    if isinstance(lost, int):
        explained.add(health_problems.lost_lines(lost))
    for problem in problems if isinstance(problems, list) else []:
        if str(problem) not in explained:
            yield str(problem)


def _store(name: str, state: str, setting: str) -> Finding:
    match state:
        case "off":
            return Finding(name, "ok", f"not used ({setting} is not set)")
        case "ok":
            return Finding(name, "ok", "connected")
        case _:
            found = health_problems.STORE_DOWN[name] if state == "away" else state
            return Finding(name, "warn", found, f"Check that it is up, and the launcher's {setting}.")


def _engine(engine: str, kubernetes: str) -> Finding:
    if engine == "kubernetes" and kubernetes == "away":
        do = "Check that Kubernetes is up, and the launcher's ServiceAccount."
        return Finding("engine", "fail", health_problems.KUBERNETES_DOWN, do)
    return Finding("engine", "ok", engine)


def _operator(state: str, cluster_away: bool) -> Iterator[Finding]:
    match state:
        case "up":
            yield Finding("operator", "ok", "up")
        case "away":
            do = f"See: {_kubectl()} get pods; {_kubectl()} logs deployment/slipway-operator"
            yield Finding("operator", "fail", health_problems.OPERATOR_DOWN, do)
        case "unknown" if not cluster_away:
            found = "unknown: the launcher has just started, or cannot read the Lease slipway-operator"
            do = "Run this again in half a minute. If it stays unknown, upgrade the chart, which grants the access."
            yield Finding("operator", "warn", found, do)


def _archive(state: object) -> Finding:
    if state == "ok":
        return Finding("archive", "ok", "readable, and has space")
    found = health_problems.ARCHIVE.get(str(state), f"The archive is {state}.")
    do = "Free space on the disk of ARCHIVE_DIR, for example with a lower RETENTION_DAYS."
    if state != "full":
        do = "Check the disk of ARCHIVE_DIR, and that the launcher may read it."
    return Finding("archive", "fail", found, do)


def _lost_lines(count: object) -> Iterator[Finding]:
    if not isinstance(count, int) or count == 0:
        return
    do = "Free space on the disk of ARCHIVE_DIR. A marker in each affected log shows where lines are missing."
    yield Finding("lost lines", "warn", health_problems.lost_lines(count), do)


def _kubectl() -> str:
    return f"kubectl -n {os.environ.get('KUBE_NAMESPACE') or 'NAMESPACE'}"
