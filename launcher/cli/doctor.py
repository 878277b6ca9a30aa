"""The doctor: what is wrong between here and the cluster, and how to mend it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from launcher.cli.client import Client
from launcher.cli.cluster import examine_cluster
from launcher.cli.failures import Exit, Failure
from launcher.cli.findings import Finding


def examine() -> list[Finding]:
    """Look at everything that can be seen from here."""
    return [_environment(), *_secret(), *_launcher(), *examine_cluster()]


def _environment() -> Finding:
    if os.environ.get("RUNNER_URL"):
        return Finding("environment", "ok", f"RUNNER_URL is {os.environ['RUNNER_URL']}")
    here = "; .env is not read: set -a; . ./.env; set +a" if Path(".env").exists() else ""
    return Finding("environment", "ok", f"RUNNER_URL is not set: http://127.0.0.1:8000 is used{here}")


def _secret() -> list[Finding]:
    from launcher.domain.errors import ConfigurationError
    from launcher.settings import Settings

    secret = os.environ.get("RUNNER_API_SECRET", "")
    if secret.startswith("eyJ") and secret.count(".") == 2:
        return [Finding("secret", "ok", "RUNNER_API_SECRET holds a token")]
    try:  # the launcher's own rule
        Settings.from_environment({"RUNNER_API_SECRET": secret, "PIPELINE_DIR": "."})
    except ConfigurationError as exc:
        fault = exc.message.split("\n")[-1].strip()
        return [Finding("secret", "warn", fault, "A launcher in production does not start with it; set a strong one.")]
    return [Finding("secret", "ok", "RUNNER_API_SECRET is strong enough")]


def _version(theirs: object) -> Finding:
    from importlib.metadata import version

    ours = version("slipway")
    if theirs == ours:
        return Finding("version", "ok", f"{ours}, here and there")
    said = f"the launcher is {theirs}" if theirs else "the launcher is too old to say its version"
    return Finding("version", "warn", f"{said}, this command {ours}", "Install the same version here and there.")


def _launcher() -> list[Finding]:
    try:
        client = Client.from_environment()
        health = client.call("GET", "/health")
    except Failure as failure:
        found = failure.message.partition(f" {failure.do}")[0] if failure.do else failure.message
        return [Finding("launcher", "fail", found, failure.do or "Correct RUNNER_URL.")]
    findings = [Finding("launcher", "ok", f"{client.url} answers")]
    try:
        client.call("GET", "/jobs", params={"per_page": 1})
        findings.append(Finding("credential", "ok", "accepted"))
    except Failure as failure:
        do = "Set RUNNER_API_SECRET as the launcher has it, or make a token with: slipway token"
        state: Literal["warn", "fail"] = "fail" if failure.code == Exit.NOT_ALLOWED else "warn"
        findings.append(Finding("credential", state, failure.message, do))
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
