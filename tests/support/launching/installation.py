"""Slipway in its own namespace: permissions, quota and volume in the cluster, launcher and operator outside it.

Launcher and operator are processes on this machine that use their service accounts, so that tests can kill and measure
them; run pods share their folder through a volume. The chart's admission policy applies, as in production.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cluster.cluster import Cluster
from cluster.namespace import InNamespace
from launching.chart import rendered
from launching.launcher import Launcher
from launching.operator import Operator

MANIFESTS = Path(__file__).resolve().parents[1] / "cluster/manifests/slipway.yaml"
TESTS_IMAGE = "localhost/slipway-tests:test"
PIPELINE_IMAGE = "localhost/slipway-pipeline:test"


class Installation(InNamespace):
    """One installation; `environment` is for both launcher and operator."""

    admission_policy = True
    """Without it, only the operator rejects Jobs, as in a cluster where policies cannot be installed."""

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
        if self.admission_policy:
            images = {name: {"image": entry["image"]} for name, entry in (pipelines or {}).items() if "image" in entry}
            self._install_policy(images, environment)
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

    def __enter__(self) -> Self:
        self.operator.start()
        self.launcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.diagnostics())
        with contextlib.ExitStack() as stack:
            stack.callback(self._uninstall)
            if self.operator.running:
                stack.callback(self.operator.stop)
            self.launcher.__exit__(kind, error, trace)

    def diagnostics(self) -> str:
        """Return the state of the cluster and the operator's last lines, to find out why a test failed."""
        log = self.operator.printed
        objects = self.kubectl("get", "jobs,pods", "--output=wide")
        events = self.kubectl("get", "events", "--sort-by=.metadata.creationTimestamp")
        return f"{objects}\n{events[-3000:]}\nThe operator's last lines:\n{log[-5000:]}"

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
        # Pods are rejected until the quota's usage is counted, which takes a while after an API server outage.
        counted = "--for=jsonpath={.status.used.pods}=0"
        self.kubectl("wait", counted, "resourcequota/slipway-runs", "--timeout=90s")

    def _install_policy(self, images: dict[str, dict[str, Any]], environment: dict[str, str | None]) -> None:
        values = {
            "pipelineImage": {"repository": (environment.get("PIPELINE_IMAGE") or TESTS_IMAGE).rpartition(":")[0]},
            "pipelines": images,
            "secrets": {
                "pipeline": environment.get("PIPELINE_SECRET") or "",
                "credentials": environment.get("CREDENTIALS_SECRET") or "",
                "masterCv": environment.get("MASTER_CV_CONFIGMAP") or "",
            },
        }
        policy = rendered("templates/runs/policy.yaml", self.namespace, values)
        self.cluster.kubectl("apply", "--filename=-", input=policy)

    def _uninstall(self) -> None:
        policies = "validatingadmissionpolicy,validatingadmissionpolicybinding"
        self.cluster.kubectl("delete", policies, f"slipway-runs-{self.namespace}", "--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.cluster.kubectl("delete", "persistentvolume", self.namespace, "--wait=false")

    def _account(self, name: str) -> Path:
        return self.cluster.service_account_kubeconfig(self.namespace, name, self.directory / f"{name}.kubeconfig")
