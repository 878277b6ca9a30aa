#!/usr/bin/env python3
"""Applies a configuration folder to the cluster as Secrets and a ConfigMap, and restarts what has changed.

    config.py FOLDER            apply it to the namespace $NAMESPACE (default: slipway)
    config.py FOLDER --check    only check the folder; needs no cluster
    config.py FOLDER --values   print the chart values from .env as JSON; needs no cluster

FOLDER contains .env, master-cv.md and, optionally, credentials/ (mounted at /app/credentials in runs) and registry.json
(a Docker configuration for pulling private images). The cluster gets exactly what is in the folder: variables that you
remove from .env are removed from the Secret. New runs use it; launcher and operator are restarted if necessary.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from config_folder import CHART_VALUES, ENV_SECRET, ConfigError, known_variables, read

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
KUBECONFIG = Path(__file__).resolve().with_name("kubeconfig.sh")
COMMAND_SECONDS = 60
RESTART_SECONDS = 180
DEPLOYMENTS = ("deployment/slipway-launcher", "deployment/slipway-operator")


class KubectlError(Exception):
    """kubectl failed; the message is its output."""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--check", action="store_true", help="only check the folder")
    parser.add_argument("--values", action="store_true", help="only print the chart values")
    options = parser.parse_args()
    try:
        config = read(options.folder, known_variables(EXAMPLE.read_text(encoding="utf-8")))
    except ConfigError as error:
        print(f"config: {options.folder} has errors:", *error.errors, sep="\n  ", file=sys.stderr)
        return 2
    if options.values:
        print(json.dumps(config.values))
        return 0
    for note in config.notes:
        print(f"config: {note}", file=sys.stderr)
    if options.check:
        print(f"config: {options.folder} is valid")
        return 0
    try:
        changed = [each["metadata"]["name"] for each in config.objects if _put(each)]
        print("config: changed " + ", ".join(changed) if changed else "config: no changes")
        if ENV_SECRET in changed:
            _restart()
        elif changed:
            print("config: new runs will use it")
        _report_pending_values(config.values)
    except KubectlError as error:
        print(f"config: {error}", file=sys.stderr)
        return 1
    return 0


def _put(wanted: dict[str, Any]) -> bool:
    """Create or replace the object if it differs; return whether it did."""
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    found = json.loads(_kubectl("get", kind, name, "--ignore-not-found", "--output=json") or "null")
    if found is None:
        _kubectl("create", "--filename=-", input=json.dumps(wanted))
        return True
    labels = found["metadata"].get("labels") or {}
    if (found.get("data") or {}) == wanted["data"] and wanted["metadata"]["labels"].items() <= labels.items():
        return False
    _kubectl("replace", "--filename=-", input=json.dumps(wanted))
    return True


def _restart() -> None:
    existing = _kubectl("get", *DEPLOYMENTS, "--ignore-not-found", "--output=name").split()
    if not existing:
        return
    print("config: restarting launcher and operator; runs continue, streams reconnect", flush=True)
    _kubectl("rollout", "restart", *DEPLOYMENTS)
    for each in DEPLOYMENTS:
        _kubectl("rollout", "status", each, f"--timeout={RESTART_SECONDS}s", seconds=RESTART_SECONDS + 10)


def _report_pending_values(values: dict[str, Any]) -> None:
    """Report settings that are chart values and differ from the release: they are applied by the next install."""
    shown = _kubectl("get", "configmap", "slipway-config", "--ignore-not-found", "--output=json")
    now = json.loads(shown)["data"] if shown else {}
    pending = []
    for name, path in CHART_VALUES.items():
        group, key = path.split(".")
        value = values.get(group, {}).get(key)
        text = ",".join(value) if isinstance(value, list) else str(value)
        if value is not None and now and now.get(name) != text:
            pending.append(name)
    if pending:
        print(f"config: {', '.join(pending)}: chart values; apply them with k8s/install.sh --config FOLDER")


def _kubectl(*args: str, input: str | None = None, seconds: int = COMMAND_SECONDS) -> str:  # noqa: A002
    program = shutil.which("kubectl")
    if program is None:
        raise KubectlError("kubectl is not installed; k3s installs it as /usr/local/bin/kubectl")
    environment = {**os.environ, "KUBECONFIG": _kubeconfig()}
    command = [program, f"--namespace={environment.get('NAMESPACE') or 'slipway'}", *args]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, input=input, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise KubectlError(f"kubectl {args[0]} timed out after {seconds} s") from None
    if done.returncode:
        raise KubectlError(f"kubectl {' '.join(args[:3])} failed: {done.stderr.strip()}")
    return done.stdout


@cache
def _kubeconfig() -> str:
    done = subprocess.run([KUBECONFIG], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode:
        raise KubectlError(done.stderr.strip())
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
