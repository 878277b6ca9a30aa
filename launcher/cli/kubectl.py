"""Calls kubectl with the user's own rights, in the namespace KUBE_NAMESPACE or the one of the current context."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ERRORS = (OSError, ValueError, subprocess.SubprocessError)
"""What a call can raise: kubectl is missing or fails, times out, or prints no JSON."""
_SECONDS = 15


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return its output."""
    namespace = os.environ.get("KUBE_NAMESPACE")
    command = ["kubectl", f"--request-timeout={_SECONDS}s", *([f"--namespace={namespace}"] if namespace else [])]
    environment = {**os.environ, "KUBECONFIG": kubeconfig()}
    done = subprocess.run(
        [*command, *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_SECONDS + 5,
        check=True,
    )
    return done.stdout


def kubeconfig() -> str:
    """Return the kubeconfig to use; empty if there is none. k3s's kubectl ignores ~/.kube/config unless it is named."""
    if given := os.environ.get("KUBECONFIG"):
        return given
    files = (Path("~/.kube/config").expanduser(), Path("/etc/rancher/k3s/k3s.yaml"))
    return next((str(path) for path in files if os.access(path, os.R_OK)), "")


def get(*arguments: str) -> dict[str, Any]:
    """Return an object or a list, as `kubectl get` prints it."""
    found: dict[str, Any] = json.loads(kubectl("get", *arguments, "--output=json"))
    return found


def items(*arguments: str) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    found: list[dict[str, Any]] = get(*arguments)["items"]
    return found


def error_text(exc: Exception) -> str:
    """Return the last line of what kubectl says."""
    if isinstance(exc, FileNotFoundError):
        return "kubectl is not installed"
    if isinstance(exc, subprocess.TimeoutExpired):  # its text begins with the whole command
        return f"kubectl did not answer within {exc.timeout:.0f} s"
    text = exc.stderr if isinstance(exc, subprocess.CalledProcessError) else str(exc)
    return str(text).strip().split("\n")[-1][:300]
