"""Slipway in a namespace of its own: its rights, quota and volume in the cluster, launcher and operator beside it.

Launcher and operator are processes of this machine, signed in as their service accounts, so that they can be killed and
measured; run pods share their folder through a volume.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from checkers.watching import Watcher
from cluster.cluster import Cluster
from launching.launcher import Launcher
from launching.operator import Operator

MANIFESTS = Path(__file__).resolve().parents[1] / "cluster/manifests/slipway.yaml"
TESTS_IMAGE = "localhost/slipway-tests:test"
PIPELINE_IMAGE = "localhost/slipway-pipeline:test"


class Installation:
    """One installation; `environment` is for launcher and operator both."""

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        pipelines: dict[str, dict[str, Any]] | None = None,
        *,
        slots: int = 3,
        **environment: str | None,
    ) -> None:
        self.cluster, self.directory, self.slots = cluster, directory, slots
        self.namespace = f"slipway-{secrets.token_hex(4)}"
        self.data = directory / "data"
        for name in ("archive", "applications"):
            (self.data / name).mkdir(parents=True)
            (self.data / name).chmod(0o777)
        self._install()
        shared: dict[str, str | None] = {
            "ENGINE": "kubernetes",
            "ARCHIVE_DIR": str(self.data / "archive"),
            "APPLICATIONS_DIR": str(self.data / "applications"),
            "MAX_CONCURRENCY": str(slots),
            "PIPELINE_IMAGE": TESTS_IMAGE,
            "POSTINGS_DIR": None,
            "MASTER_CV": None,
            **environment,
        }
        self.launcher = Launcher(
            directory / "launcher", pipelines, KUBECONFIG=str(self._account("slipway-launcher")), **shared
        )
        operator_environment = {
            name: value
            for name, value in self.launcher.environment.items()
            if name not in ("PORT", "RUNNER_API_SECRET")
        }
        self.operator = Operator(
            directory, {**operator_environment, "KUBECONFIG": str(self._account("slipway-operator"))}
        )

    def json(self, *args: str) -> dict[str, Any]:
        """Ask kubectl for objects of this namespace."""
        return self.cluster.json(*args, f"--namespace={self.namespace}")

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """Run kubectl in this namespace."""
        return self.cluster.kubectl(*args, f"--namespace={self.namespace}", input=input)

    def job(self, run_id: str) -> dict[str, Any] | None:
        """Return a run's Job, if it is there."""
        found = [job for job in self.json("get", "jobs")["items"] if job["metadata"]["name"] == run_id]
        return found[0] if found else None

    def pods(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's pods."""
        items: list[dict[str, Any]] = self.json("get", "pods", f"--selector=job-name={run_id}")["items"]
        return items

    def watcher(self) -> Watcher:
        """Return who records what Kubernetes does with the runs."""
        kubectl = [*map(str, self.cluster.kubectl_command), "--kubeconfig", str(self.cluster.kubeconfig)]
        return Watcher(kubectl, self.namespace)

    def __enter__(self) -> Self:
        self.operator.start()
        self.launcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.state())
        with contextlib.ExitStack() as stack:
            stack.callback(self._uninstall)
            if self.operator.running:
                stack.callback(self.operator.stop)
            self.launcher.__exit__(kind, error, trace)

    def state(self) -> str:
        """Tell what the cluster and the operator say, for whoever has to find out why a test failed."""
        said = self.operator.log.read_text(errors="replace") if self.operator.log.exists() else ""
        objects = self.kubectl("get", "jobs,pods", "--output=wide")
        events = self.kubectl("get", "events", "--sort-by=.metadata.creationTimestamp")
        return f"{objects}\n{events[-3000:]}\nThe operator's last lines:\n{said[-5000:]}"

    def _install(self) -> None:
        self.cluster.make_namespace(self.namespace)
        objects = list(yaml.safe_load_all(MANIFESTS.read_text()))
        for each in objects:
            if each["kind"] == "ResourceQuota":
                each["spec"]["hard"]["pods"] = str(self.slots)
            if each["kind"] == "RoleBinding":
                each["subjects"][0]["namespace"] = self.namespace
        size, modes = {"storage": "1Gi"}, ["ReadWriteOnce"]
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": self.namespace},
            "spec": {
                "capacity": size,
                "accessModes": modes,
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "hostPath": {"path": str(self.data)},
            },
        }
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "slipway-data"},
            "spec": {
                "accessModes": modes,
                "storageClassName": "",
                "volumeName": self.namespace,
                "resources": {"requests": size},
            },
        }
        self.cluster.apply(volume)
        self.kubectl("apply", "--filename=-", input=yaml.safe_dump_all([*objects, claim]))
        self.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/slipway-data", "--timeout=90s")
        # Pods are refused until the controller has counted, which takes its time after an API server's absence.
        counted = "--for=jsonpath={.status.used.pods}=0"
        self.kubectl("wait", counted, "resourcequota/slipway-runs", "--timeout=90s")

    def _uninstall(self) -> None:
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.cluster.kubectl("delete", "persistentvolume", self.namespace, "--wait=false")

    def _account(self, name: str) -> Path:
        return self.cluster.service_account_kubeconfig(self.namespace, name, self.directory / f"{name}.kubeconfig")
