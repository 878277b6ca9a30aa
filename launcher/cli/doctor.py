"""The doctor: what is wrong between here and the cluster, and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from launcher.cli.client import DEFAULT_URL, Client
from launcher.cli.cluster_checks import examine_cluster
from launcher.cli.failures import Exit, Failure
from launcher.cli.findings import Finding
from launcher.domain.setting_rules import MAKE_ONE, Unusable, strong_secret, typos, usable
from launcher.domain.setting_rules.env_file import read_env


def examine() -> list[Finding]:
    """Look at everything that can be seen from here."""
    secret = _secret()
    usable_secret = not any(each.state == "fail" for each in secret)
    return [*_environment(), *_env_file(), *secret, *_launcher(with_secret=usable_secret), *examine_cluster()]


def _environment() -> Iterator[Finding]:
    url = os.environ.get("RUNNER_URL")
    try:
        found = f"RUNNER_URL is {usable('RUNNER_URL', url)}" if url else f"RUNNER_URL is not set: {DEFAULT_URL} is used"
        yield Finding("environment", "ok", found)
    except Unusable as exc:
        yield Finding("environment", "fail", str(exc), "Correct RUNNER_URL.")
    for note in typos(os.environ, ("RUNNER_URL", "RUNNER_API_SECRET")):
        yield Finding("environment", "warn", note, "Set it under its right name.")


def _env_file() -> list[Finding]:
    """Look at the `.env` that a shell, Docker Compose or systemd may load from here."""
    try:
        read = read_env(Path(".env").read_text())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        return [Finding(".env", "warn", f"it cannot be read: {exc}", "Save it as UTF-8 text that you may read.")]
    if read.faults:
        do = "Write NAME='value' in single quotes, then load it again: set -a; . ./.env; set +a"
        return [Finding(".env", "fail", fault, do) for _, fault in read.faults]
    loaded = any(value and os.environ.get(name) == value for name, value in read.values.items())
    return [Finding(".env", "ok", "loaded" if loaded else "not loaded; to load it: set -a; . ./.env; set +a")]


def _secret() -> list[Finding]:
    secret = os.environ.get("RUNNER_API_SECRET", "")
    weak = "A launcher in production does not start with it; set a strong one."
    try:
        if not secret:
            return [Finding("secret", "warn", "RUNNER_API_SECRET is not set", f"{weak} {MAKE_ONE}")]
        usable("RUNNER_API_SECRET", secret)
    except Unusable as exc:
        return [Finding("secret", "fail", str(exc), "Set RUNNER_API_SECRET again, without what is wrong.")]
    if secret.startswith("eyJ") and secret.count(".") == 2:
        return [Finding("secret", "ok", "RUNNER_API_SECRET holds a token")]
    try:
        strong_secret("RUNNER_API_SECRET", secret)
    except Unusable as exc:
        return [Finding("secret", "warn", str(exc), weak)]
    return [Finding("secret", "ok", "RUNNER_API_SECRET is strong enough")]


def _version(theirs: object) -> Finding:
    from importlib.metadata import version

    ours = version("slipway")
    if theirs == ours:
        return Finding("version", "ok", f"{ours}, here and there")
    said = f"the launcher is {theirs}" if theirs else "the launcher is too old to say its version"
    return Finding("version", "warn", f"{said}, this command {ours}", "Install the same version here and there.")


def _launcher(*, with_secret: bool) -> list[Finding]:
    try:
        client = Client.from_environment() if with_secret else Client(os.environ.get("RUNNER_URL") or DEFAULT_URL, None)
        health = client.call("GET", "/health")
    except Failure as failure:
        found = failure.message.partition(f" {failure.do}")[0] if failure.do else failure.message
        return [Finding("launcher", "fail", found, failure.do or "Correct RUNNER_URL.")]
    findings = [Finding("launcher", "ok", f"{client.url} answers")]
    findings.append(
        _credential(client) if with_secret else Finding("credential", "skip", "RUNNER_API_SECRET is unusable")
    )
    if "max_concurrency" not in health:
        return [*findings, Finding("health", "fail", "the answer is no launcher's", "Correct RUNNER_URL.")]
    findings.append(_version(health.get("version")))
    paused = bool(health.get("paused"))
    slots = f"{health['active_runs']} of {health['max_concurrency']} slots in use, {health.get('queued')} waiting"
    findings.append(
        Finding("queue", "warn", f"paused; {slots}", "Let it go on with: slipway resume")
        if paused
        else Finding("queue", "ok", slots)
    )
    for name, setting in (("redis", "REDIS_URL"), ("mongodb", "MONGODB_URI")):
        state_of_store = str(health.get(name))
        if state_of_store == "off":
            findings.append(Finding(name, "ok", f"not used ({setting} is not set)"))
        elif state_of_store == "ok":
            findings.append(Finding(name, "ok", "connected"))
        else:
            do = f"Runs go on without it. See that it is up and that the launcher's {setting} is right."
            findings.append(Finding(name, "warn", state_of_store, do))
    engine, kubernetes = str(health.get("engine")), str(health.get("kubernetes"))
    away = engine == "kubernetes" and kubernetes == "away"
    do = (
        "The launcher cannot reach the API server: see that Kubernetes is up, and the launcher's rights."
        if away
        else ""
    )
    findings.append(Finding("engine", "fail" if away else "ok", f"{engine}, Kubernetes {kubernetes}", do))
    return [*findings, *_operator(str(health.get("operator", "off")), away)]


def _credential(client: Client) -> Finding:
    try:
        client.call("GET", "/jobs", params={"per_page": 1})
    except Failure as failure:
        do = "Set RUNNER_API_SECRET as the launcher has it, or make a token with: slipway token"
        state: Literal["warn", "fail"] = "fail" if failure.code == Exit.NOT_ALLOWED else "warn"
        return Finding("credential", state, failure.message, do)
    return Finding("credential", "ok", "accepted")


def _operator(state: str, cluster_away: bool) -> list[Finding]:
    match state:
        case "up":
            return [Finding("operator", "ok", "it renews its Lease")]
        case "away":
            where = f"kubectl -n {os.environ.get('KUBE_NAMESPACE') or 'NAMESPACE'}"
            do = f"See: {where} get pods; {where} logs deployment/slipway-operator"
            return [Finding("operator", "fail", "away: no run starts until it is back", do)]
        case "unknown" if not cluster_away:
            found = "unknown: the launcher has just started, or does not see the Lease slipway-operator"
            do = "Look again in half a minute; then upgrade the chart, which has the Lease and the right to read it."
            return [Finding("operator", "warn", found, do)]
    return []
