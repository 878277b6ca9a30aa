"""A namespace of the cluster, as tests look at it: kubectl, its runs' Jobs and pods, a watcher."""

from __future__ import annotations

import json
from typing import Any

from checkers.watching import Watcher
from cluster.cluster import Cluster


class InNamespace:
    """Something that is installed in a namespace."""

    cluster: Cluster
    namespace: str

    @property
    def kubectl_command(self) -> list[str]:
        """A kubectl command for the cluster, without its arguments."""
        return [*map(str, self.cluster.kubectl_command), "--kubeconfig", str(self.cluster.kubeconfig)]

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """Run kubectl in the namespace, as the administrator."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *args, input=input)

    def json(self, *args: str) -> dict[str, Any]:
        """Run kubectl in the namespace and parse its JSON."""
        found: dict[str, Any] = json.loads(self.kubectl(*args, "--output=json"))
        return found

    def job(self, run_id: str) -> dict[str, Any] | None:
        """Return a run's Job, or None."""
        found = [job for job in self.json("get", "jobs")["items"] if job["metadata"]["name"] == run_id]
        return found[0] if found else None

    def pods(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's pods."""
        items: list[dict[str, Any]] = self.json("get", "pods", f"--selector=job-name={run_id}")["items"]
        return items

    def watcher(self) -> Watcher:
        """Return a watcher of this namespace's runs."""
        return Watcher(self.kubectl_command, self.namespace)
