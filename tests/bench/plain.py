"""The same work without Slipway: Jobs made and followed by kubectl."""

from __future__ import annotations

import copy
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from cluster.cluster import Cluster
from launching.installation import TESTS_IMAGE, Installation

_RETRY_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0


def job(name: str, command: list[str]) -> dict[str, Any]:
    """Return a plain Job: not suspended, its pod with a deadline, so that a quota counts it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"bench": "true"}},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": {"bench": "true"}},
                "spec": {
                    "restartPolicy": "Never",
                    "activeDeadlineSeconds": 600,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "containers": [{"name": "pipeline", "image": TESTS_IMAGE, "command": command}],
                },
            },
        },
    }


def like_a_run(installation: Installation, run_id: str, name: str) -> dict[str, Any]:
    """Return a plain Job with the very pod of a run."""
    found = installation.job(run_id)
    assert found is not None
    plain = job(name, [])
    plain["spec"]["template"]["spec"] = copy.deepcopy(found["spec"]["template"]["spec"])
    return plain


def first_line_seconds(cluster: Cluster, namespace: str, manifest: dict[str, Any]) -> float:
    """Return the seconds from `kubectl create` to the first line of `kubectl logs -f`, asked again while it refuses."""
    kubectl = [*map(str, cluster.kubectl_command), "--kubeconfig", str(cluster.kubeconfig), f"--namespace={namespace}"]
    began = time.monotonic()
    subprocess.run(
        [*kubectl, "create", "-f", "-"], input=yaml.safe_dump(manifest).encode(), check=True, capture_output=True
    )
    while time.monotonic() - began < _PATIENCE_SECONDS:
        command = [*kubectl, "logs", "-f", f"job/{manifest['metadata']['name']}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            took = time.monotonic() - began
            process.kill()
        if line:
            return took
        time.sleep(_RETRY_SECONDS)
    raise TimeoutError("kubectl logs -f showed no line")


@contextmanager
def namespace_with_quota(cluster: Cluster, slots: int) -> Iterator[str]:
    """A namespace where nothing but a quota holds Jobs back."""
    name = f"bench-{secrets.token_hex(4)}"
    quota = {"hard": {"pods": str(slots)}, "scopes": ["Terminating"]}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "pods", "namespace": name},
                "spec": quota,
            }
        )
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")
