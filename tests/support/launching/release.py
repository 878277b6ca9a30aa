"""Slipway installed in the cluster from the chart, with helm."""

from __future__ import annotations

import secrets
import subprocess
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import yaml

from cluster.cluster import REPLACED_SECONDS, Cluster, ClusterError, wait_for_service
from cluster.namespace import InNamespace
from launching.chart import CHART, helm
from launching.policies import allow_tests
from launching.service_process import ROOT

NAME = "slipway"
TIMEOUT_SECONDS = 180
TESTS_IMAGE = "localhost/slipway-tests:test"
_VALUES: dict[str, Any] = {
    "image": {"repository": "localhost/slipway", "tag": "test"},
    "pipelineImage": {"repository": "localhost/slipway-pipeline", "tag": "test"},
    "redis": {"image": TESTS_IMAGE},
    "secrets": {"pipeline": "slipway-pipeline"},
    "data": {"storage": "1Gi", "storageClass": "local-path"},
}


class Release(InNamespace):
    """A release of the chart in its own namespace, with the Secrets and the ConfigMap that its values name."""

    chart = CHART

    def __init__(
        self, cluster: Cluster, *, mongodb_uri: str, pipelines: dict[str, Any], values: dict[str, Any] | None = None
    ) -> None:
        self.cluster, self.secret = cluster, secrets.token_hex(32)
        self.namespace = f"release-{secrets.token_hex(4)}"
        mongodb = urlsplit(mongodb_uri)
        ports = [mongodb.port]
        runs = {"to": [{"ipBlock": {"cidr": f"{mongodb.hostname}/32"}}], "ports": [{"port": mongodb.port}]}
        network = {"networkPolicy": {"mongodbPorts": ports, "runExtraEgress": [runs]}}  # its address is private
        self.values: dict[str, Any] = {**_VALUES, **network, "pipelines": pipelines, **(values or {})}
        self._mongodb_uri = mongodb_uri
        self.url = ""
        self.client = httpx.Client()

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate a client."""
        return {"Authorization": f"Bearer {self.secret}"}

    def __enter__(self) -> Self:
        self.cluster.make_namespace(self.namespace)
        uri = {"MONGODB_URI": self._mongodb_uri}
        master_cv = (ROOT / "pipeline-image/samples/master-cv.md").read_text()
        objects = [
            _named("Secret", "slipway-env", stringData={"RUNNER_API_SECRET": self.secret, **uri}),
            _named("Secret", "slipway-pipeline", stringData=uri),
            _named("ConfigMap", "slipway-master-cv", data={"master-cv.md": master_cv}),
            allow_tests("slipway-launcher", 8000, self.cluster.gateway),
        ]
        self.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(objects))
        try:
            self.upgrade()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.helm("uninstall", NAME, "--ignore-not-found")  # also removes cluster-scoped objects
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def upgrade(self, **changes: Any) -> None:
        """Install or upgrade to `chart` with changed values, and wait until everything is ready."""
        self.values |= changes
        self.helm(
            "upgrade", "--install", NAME, str(self.chart), "--values=-", "--wait", f"--timeout={TIMEOUT_SECONDS}s",
            input=yaml.safe_dump(self.values),
        )  # fmt: skip
        address = self.json("get", "service", "slipway-launcher")["spec"]["clusterIP"]
        if self.url != f"http://{address}":  # it changes with an uninstall
            self.url = f"http://{address}"
            self.client.close()
            self.client = httpx.Client(base_url=self.url, headers=self.headers, trust_env=False, timeout=60)
        self.cluster.wait_for_rollout("slipway-launcher", self.namespace)
        wait_for_service(self._answers, REPLACED_SECONDS, f"a response from {self.url}")

    def helm(self, *args: str, input: str | None = None) -> str:
        """Run helm in this namespace and return its output. Raises `RuntimeError` with helm's errors."""
        command: list[str] = [
            str(helm()),
            f"--kubeconfig={self.cluster.kubeconfig}",
            f"--namespace={self.namespace}",
            *args,
        ]
        done = subprocess.run(command, capture_output=True, text=True, input=input, timeout=TIMEOUT_SECONDS + 60)
        if done.returncode:
            raise RuntimeError(f"helm {args[0]} failed: {done.stderr}{done.stdout}\n{self._diagnostics()}")
        return done.stdout + done.stderr  # the output of a hook's pod is on stderr

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5).is_success
        except httpx.TransportError:
            return False

    def _diagnostics(self) -> str:
        try:
            log = self.kubectl("logs", "slipway-test")
        except ClusterError:  # helm's test did not run
            log = ""
        return log + self.kubectl("get", "pods") + self.kubectl("get", "events", "--sort-by=.lastTimestamp")[-3000:]


def _named(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}
