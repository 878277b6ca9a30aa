"""The doctor: checks everything between this machine and the cluster, and suggests fixes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from launcher.cli.client import DEFAULT_URL, Client
from launcher.cli.cluster_checks import examine_cluster
from launcher.cli.failures import Exit, Failure
from launcher.cli.findings import Finding
from launcher.cli.health_checks import health_findings
from launcher.domain.setting_rules import MAKE_ONE, Unusable, strong_secret, typos, usable
from launcher.domain.setting_rules.env_file import read_env


def examine() -> list[Finding]:
    """Run all checks."""
    secret = _secret()
    usable_secret = not any(each.state == "fail" for each in secret)
    return [*_environment(), *_env_file(), *secret, *_launcher(with_secret=usable_secret), *examine_cluster()]


def _environment() -> Iterator[Finding]:
    url = os.environ.get("RUNNER_URL")
    try:
        found = f"RUNNER_URL is {usable('RUNNER_URL', url)}" if url else f"RUNNER_URL is not set; using {DEFAULT_URL}"
        yield Finding("environment", "ok", found)
    except Unusable as exc:
        yield Finding("environment", "fail", str(exc), "Correct RUNNER_URL.")
    for note in typos(os.environ, ("RUNNER_URL", "RUNNER_API_SECRET")):
        yield Finding("environment", "warn", note, "Rename it.")


def _env_file() -> list[Finding]:
    """Check the `.env` in this folder, which a shell, Docker Compose or systemd may load."""
    try:
        read = read_env(Path(".env").read_text())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        return [Finding(".env", "warn", f"cannot be read: {exc}", "Save it as UTF-8 text that you can read.")]
    if read.faults:
        do = "Use single quotes, NAME='value', then load it again: set -a; . ./.env; set +a"
        return [Finding(".env", "fail", fault, do) for _, fault in read.faults]
    loaded = any(value and os.environ.get(name) == value for name, value in read.values.items())
    return [Finding(".env", "ok", "loaded" if loaded else "not loaded. To load it, run: set -a; . ./.env; set +a")]


def _secret() -> list[Finding]:
    secret = os.environ.get("RUNNER_API_SECRET", "")
    required = "A launcher in production requires a strong one"
    try:
        if not secret:
            return [Finding("secret", "warn", "RUNNER_API_SECRET is not set", f"{required}; {MAKE_ONE}.")]
        usable("RUNNER_API_SECRET", secret)
    except Unusable as exc:
        return [Finding("secret", "fail", str(exc), "Correct RUNNER_API_SECRET.")]
    if secret.startswith("eyJ") and secret.count(".") == 2:
        return [Finding("secret", "ok", "RUNNER_API_SECRET is a token")]
    try:
        strong_secret("RUNNER_API_SECRET", secret)
    except Unusable as exc:
        return [Finding("secret", "warn", str(exc), f"{required}.")]
    return [Finding("secret", "ok", "RUNNER_API_SECRET is strong enough")]


def _launcher(*, with_secret: bool) -> list[Finding]:
    try:
        client = Client.from_environment() if with_secret else Client(os.environ.get("RUNNER_URL") or DEFAULT_URL, None)
        health = client.call("GET", "/health")
    except Failure as failure:
        return [Finding("launcher", "fail", failure.found, failure.do or "Correct RUNNER_URL.")]
    credential = _credential(client) if with_secret else Finding("credential", "skip", "RUNNER_API_SECRET is unusable")
    return [Finding("launcher", "ok", f"{client.url} answers"), credential, *health_findings(health)]


def _credential(client: Client) -> Finding:
    try:
        client.call("GET", "/jobs", params={"per_page": 1})
    except Failure as failure:
        if failure.code == Exit.NOT_ALLOWED:
            do = failure.do or "Create a token that may read: slipway token --scope read"
            return Finding("credential", "fail", failure.found, do)
        return Finding("credential", "warn", failure.message)
    return Finding("credential", "ok", "accepted")
