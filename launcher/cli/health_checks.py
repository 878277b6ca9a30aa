"""The doctor's reading of what the launcher reports about itself at `/health`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.cli.findings import Finding
from launcher.version import VERSION

_STORES = {"redis": ("Redis", "REDIS_URL"), "mongodb": ("MongoDB", "MONGODB_URI")}


class _Problems:
    """The launcher's own sentences; each is shown once, by the check that it belongs to or else by itself."""

    def __init__(self, sentences: object) -> None:
        self._left = [str(each) for each in sentences] if isinstance(sentences, list) else []

    def take(self, subject: str, otherwise: str) -> str:
        """Return the sentences about a subject."""
        about = [each for each in self._left if each.removeprefix("The ").lower().startswith(subject.lower())]
        self._left = [each for each in self._left if each not in about]
        return " ".join(about) or otherwise

    def rest(self) -> list[str]:
        """Return the sentences that no check has taken."""
        return self._left


def health_findings(health: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for each part of the service, then one for every other problem that the launcher reports."""
    if "max_concurrency" not in health:
        yield Finding("health", "fail", "the answer does not come from a launcher", "Correct RUNNER_URL.")
        return
    problems = _Problems(health.get("problems"))
    yield _version(health.get("version"))
    yield _queue(health)
    for name, (subject, setting) in _STORES.items():
        yield _store(name, str(health.get(name)), setting, problems.take(subject, ""))
    yield _engine(str(health.get("engine")), str(health.get("kubernetes")), problems)
    yield from _operator(str(health.get("operator")), health.get("kubernetes") == "away", problems)
    if "archive" in health:
        yield _archive(health["archive"], problems)
    yield from _lost_lines(health.get("lost_lines"), problems)
    for sentence in problems.rest():
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
        return Finding("queue", "warn", f"paused; {slots}", "To resume it, run: slipway resume")
    return Finding("queue", "ok", slots)


def _store(name: str, state: str, setting: str, problem: str) -> Finding:
    match state:
        case "off":
            return Finding(name, "ok", f"not used ({setting} is not set)")
        case "ok":
            return Finding(name, "ok", "connected")
        case _:
            return Finding(name, "warn", problem or state, f"Check that it is up, and the launcher's {setting}.")


def _engine(engine: str, kubernetes: str, problems: _Problems) -> Finding:
    if engine == "kubernetes" and kubernetes == "away":
        found = problems.take("Kubernetes", "Kubernetes does not answer the launcher.")
        return Finding("engine", "fail", found, "Check that Kubernetes is up, and the launcher's ServiceAccount.")
    return Finding("engine", "ok", engine)


def _operator(state: str, cluster_away: bool, problems: _Problems) -> Iterator[Finding]:
    match state:
        case "up":
            yield Finding("operator", "ok", "up")
        case "away":
            found = problems.take("operator", "The operator does not answer. No new runs start until it returns.")
            yield Finding(
                "operator", "fail", found, f"See: {_kubectl()} get pods; {_kubectl()} logs deployment/slipway-operator"
            )
        case "unknown" if not cluster_away:
            found = "unknown: the launcher has just started, or cannot read the Lease slipway-operator"
            do = "Run this again in half a minute. If it stays unknown, upgrade the chart, which grants the access."
            yield Finding("operator", "warn", found, do)


def _archive(state: object, problems: _Problems) -> Finding:
    if state == "ok":
        return Finding("archive", "ok", "readable, and has space")
    found = problems.take("archive", f"The archive is {state}.")
    do = "Free space on the disk of ARCHIVE_DIR, for example with a lower RETENTION_DAYS."
    if state != "full":
        do = "Check the disk of ARCHIVE_DIR, and that the launcher may read it."
    return Finding("archive", "fail", found, do)


def _lost_lines(count: object, problems: _Problems) -> Iterator[Finding]:
    if not isinstance(count, int) or count == 0:
        return
    found = problems.take("disk refused", f"The disk refused log lines, {count} since the launcher started.")
    do = "Free space on the disk of ARCHIVE_DIR. A marker in each affected log shows where lines are missing."
    yield Finding("lost lines", "warn", found, do)


def _kubectl() -> str:
    return f"kubectl -n {os.environ.get('KUBE_NAMESPACE') or 'NAMESPACE'}"
