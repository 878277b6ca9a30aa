"""The same work without Slipway: Jobs created and followed with kubectl."""

from __future__ import annotations

import copy
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from cluster.cluster import Cluster, wait_until
from launching.installation import TESTS_IMAGE, Installation

_RETRY_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0
_READY_SECONDS = 30.0


def job(name: str, command: list[str]) -> dict[str, Any]:
    """Return a plain Job: not suspended. Its pod has a deadline, so that the quota counts it."""
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
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "pipeline", "image": TESTS_IMAGE, "command": command}],
                },
            },
        },
    }


def like_a_run(installation: Installation, run_id: str, name: str) -> dict[str, Any]:
    """Return a plain Job with the pod spec of a run."""
    found = installation.job(run_id)
    assert found is not None
    plain = job(name, [])
    plain["spec"]["template"]["spec"] = copy.deepcopy(found["spec"]["template"]["spec"])
    return plain


def kubectl_of(cluster: Cluster, namespace: str) -> list[str]:
    """Return a kubectl command line without its subcommand."""
    return [*map(str, cluster.kubectl_command), "--kubeconfig", str(cluster.kubeconfig), f"--namespace={namespace}"]


def first_line(cluster: Cluster, namespace: str, manifest: dict[str, Any]) -> tuple[float, str]:
    """Return the seconds from `kubectl create` to the first line of `kubectl logs -f`, and that line.

    As one would at a prompt: `kubectl create -f job.yaml; until kubectl logs -f job/NAME; do sleep 0.1; done`.
    kubectl itself waits for a pod that does not exist yet, and fails while its container is being created. Returns
    when the Job is complete, so that nothing is left running during the next measurement.
    """
    kubectl = kubectl_of(cluster, namespace)
    target = f"job/{manifest['metadata']['name']}"
    text = yaml.safe_dump(manifest).encode()
    began = time.monotonic()
    subprocess.run(
        [*kubectl, "create", "-f", "-"], input=text, check=True, capture_output=True, timeout=_PATIENCE_SECONDS
    )
    while (left := began + _PATIENCE_SECONDS - time.monotonic()) > 0:
        with subprocess.Popen(
            [*kubectl, "logs", "-f", target], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            deadline = threading.Timer(left, process.kill)
            deadline.start()
            line = process.stdout.readline()
            took = time.monotonic() - began
            deadline.cancel()
            process.kill()
        if line:
            cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=complete", target, "--timeout=60s")
            return took, line.decode().strip()
        time.sleep(_RETRY_SECONDS)
    raise TimeoutError(f"kubectl logs -f showed no line within {_PATIENCE_SECONDS:.0f} s")


@contextmanager
def namespace_with_quota(cluster: Cluster, slots: int) -> Iterator[str]:
    """A namespace where only a quota limits Jobs, once it is ready for pods: earlier ones would be refused."""
    name = f"bench-{secrets.token_hex(4)}"
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "pods", "namespace": name},
        "spec": {"hard": {"pods": str(slots)}, "scopes": ["Terminating"]},
    }
    in_namespace = f"--namespace={name}"
    try:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.apply(quota)
        wait_until(
            lambda: (
                "hard" in cluster.json("get", "resourcequota", "pods", in_namespace)["status"]
                and cluster.json("get", "serviceaccounts", in_namespace)["items"]
            ),
            _READY_SECONDS,
            "the quota and the default service account of a new namespace",
        )
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
