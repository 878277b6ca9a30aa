"""What Kubernetes does with Jobs and pods, on a fake cluster."""

from __future__ import annotations

import asyncio

from launcher.cluster import jobs
from launcher.cluster.port import Manifest
from launching.fake_cluster import FakeCluster
from launching.harness import ended, running


class FakeKubelet:
    """Acts as Job controller, scheduler and kubelet for all Jobs of a fake cluster.

    A pod prints a line and succeeds, unless its Job's name is in `lasting`: that one runs until it is stopped.
    """

    def __init__(self, cluster: FakeCluster, lasting: frozenset[str] = frozenset()) -> None:
        self._cluster, self._lasting = cluster, lasting

    async def run(self) -> None:
        """Act until cancelled."""
        while True:
            for (kind, name), manifest in list(self._cluster.objects.items()):
                if kind == "Job":
                    self._step(name, manifest)
            await asyncio.sleep(0.005)

    def _step(self, name: str, job: Manifest) -> None:
        pod = self._cluster.objects.get(("Pod", f"{name}-x"))
        if jobs.finished_condition(job):
            return
        if job["spec"]["suspend"]:
            if pod is not None:
                self._cluster.remove("Pod", f"{name}-x")
        elif pod is None:
            self._put(name, job, {"phase": "Running", **running()})
            self._cluster.say(f"{name}-x", "a line")
        elif pod["spec"]["activeDeadlineSeconds"] == 1:
            self._put(name, job, {"phase": "Failed", "reason": "DeadlineExceeded", **ended(143)}, deadline=1)
            self._finish(name, job, "Failed")
        elif name not in self._lasting:
            self._put(name, job, {"phase": "Succeeded", **ended(0)})
            self._finish(name, job, "Complete")

    def _put(self, name: str, job: Manifest, status: Manifest, deadline: int = 1200) -> None:
        labels = {
            "slipway.dev/run": "true",
            "batch.kubernetes.io/job-name": name,
            "batch.kubernetes.io/controller-uid": job["metadata"]["uid"],
        }
        spec = {
            "nodeName": "node",
            "activeDeadlineSeconds": deadline,
            "containers": [{"name": "pipeline", "image": "image"}],
        }
        kept = self._cluster.objects.get(("Pod", f"{name}-x"), {"metadata": {"name": f"{name}-x", "labels": labels}})
        self._cluster.put("Pod", {**kept, "spec": spec, "status": status})

    def _finish(self, name: str, job: Manifest, condition: str) -> None:
        self._cluster.put("Job", {**job, "status": {"conditions": [{"type": condition, "status": "True"}]}})
