"""The edge of a VPS: k3s's Traefik, configured by k8s/traefik.yaml, and a test certificate authority.

Traefik gets the arguments that it has on k3s, and more for the authority.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from cluster.cluster import HERE, Cluster, wait_for_service, wait_until
from launching.authority import MANIFESTS, Authority, Routed
from launching.service_process import ROOT

HOST = "runner.example.test"
RENEWED_HOST = "renewed.example.test"
RENEWING = "renewing"
"""A resolver whose certificates are so brief that Traefik renews them every minute."""
CONFIG = ROOT / "k8s/traefik.yaml"
TRAEFIK = "--namespace=kube-system"
START_SECONDS = 90
K3S_ARGUMENTS = [  # rendered by Traefik's chart from k3s's values; the same in versions 37 to 41
    "--entryPoints.metrics.address=:9100/tcp",
    "--entryPoints.traefik.address=:8080/tcp",
    "--entryPoints.web.address=:8000/tcp",
    "--entryPoints.websecure.address=:8443/tcp",
    "--api.dashboard=true",
    "--ping=true",
    "--metrics.prometheus=true",
    "--metrics.prometheus.entrypoint=metrics",
    "--providers.kubernetescrd",
    "--providers.kubernetescrd.allowEmptyServices=true",
    "--providers.kubernetesingress",
    "--providers.kubernetesingress.allowEmptyServices=true",
    "--providers.kubernetesingress.ingressendpoint.publishedservice=kube-system/traefik",
    "--entryPoints.websecure.http.tls=true",
    "--log.level=INFO",
]


def added_arguments(config: str) -> list[str]:
    """Return the arguments that a HelmChartConfig adds. Raises `ValueError` if it sets anything else."""
    values = yaml.safe_load(yaml.safe_load(config)["spec"]["valuesContent"])
    if unknown := values.keys() - {"persistence", "additionalArguments"}:
        raise ValueError(f"The tests' Traefik does not support {', '.join(sorted(unknown))}: use additionalArguments.")
    arguments: list[str] = values["additionalArguments"]
    return arguments


def _any_certificate() -> ssl.SSLContext:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust


ANY_CERTIFICATE = _any_certificate()
"""For checking that Traefik responds at all: after its start it has only a self-signed certificate."""


class Edge:
    """Traefik and the authority, in the cluster."""

    url = f"https://{HOST}"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.authority = Authority(cluster)
        self.address = ""
        self.root = self.authority.root
        self.trust = ssl.create_default_context()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        options = ("--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", f"--filename={MANIFESTS / 'traefik.yaml'}", *options)
        self.cluster.kubectl("delete", "configmap", "slipway-test-authority", TRAEFIK, *options)
        self.authority.remove()

    @property
    def arguments(self) -> list[str]:
        """Traefik's arguments on k3s, the address of the test authority, and a second resolver."""
        return [
            *K3S_ARGUMENTS,
            *added_arguments(CONFIG.read_text()),
            *self.authority.traefik_arguments("/authority/tls.crt"),
            *self.authority.traefik_arguments("/authority/tls.crt", resolver=RENEWING, profile="brief"),
            f"--certificatesResolvers.{RENEWING}.acme.storage=/data/{RENEWING}.json",
            f"--certificatesResolvers.{RENEWING}.acme.tlsChallenge=true",
            f"--certificatesResolvers.{RENEWING}.acme.certificatesDuration=1",  # hours
        ]

    def configure(self, arguments: Sequence[str]) -> None:
        """Start or replace Traefik with these arguments."""
        objects = list(yaml.safe_load_all((MANIFESTS / "traefik.yaml").read_text()))
        [deployment] = [each for each in objects if each["kind"] == "Deployment"]
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        container["args"] = list(arguments)
        self.cluster.apply(*objects)
        self._wait_for_traefik()

    def restart(self) -> None:
        """Replace Traefik's pod."""
        self.cluster.kubectl("rollout", "restart", "deployment/traefik", TRAEFIK)
        self._wait_for_traefik()

    def trust_only(self, root: Path) -> None:
        """Trust only this root from now on."""
        self.root, self.trust = root, ssl.create_default_context(cafile=root)

    def client(self, headers: Mapping[str, str], *, scheme: str = "https") -> httpx.Client:
        """Return a client for the public name that trusts only the test authority and follows no redirects."""
        transport = Routed(self.address, self.trust)
        return httpx.Client(base_url=f"{scheme}://{HOST}", headers=headers, transport=transport, timeout=30)

    def certificate(self, host: str = HOST) -> Mapping[str, Any]:
        """Return Traefik's certificate for a name, after checking its chain."""
        with (
            socket.create_connection((self.address, 443), timeout=10) as plain,
            self.trust.wrap_socket(plain, server_hostname=host) as secured,
        ):
            shown = secured.getpeercert()
        assert shown is not None
        return shown

    def wait_for_certificate(self, host: str = HOST) -> Mapping[str, Any]:
        """Wait until Traefik's certificate is one of the authority's, and return it."""

        def issued() -> Mapping[str, Any] | None:
            try:
                return self.certificate(host)
            except OSError:  # Traefik still has its self-signed certificate, or its pod was just replaced
                return None

        found = wait_until(issued, START_SECONDS, f"a certificate for {host}")
        assert found is not None
        return found

    def wait_for_launcher(self) -> None:
        """Wait until Traefik has a trusted certificate and routes to the launcher."""
        wait_for_service(
            lambda: self._answer("https", "/health", self.trust) == 200, START_SECONDS, f"{self.url}/health"
        )

    def access_log(self) -> list[dict[str, Any]]:
        """Return the access log of Traefik's newest pod."""
        lines = self.log().splitlines()
        return [entry for line in lines if line.startswith("{") and "RequestMethod" in (entry := json.loads(line))]

    def log(self) -> str:
        """Return the whole log of Traefik's newest pod."""
        return self.cluster.kubectl("logs", "deployment/traefik", TRAEFIK)

    # -----------------------------------------------------------------------------------------------------------------
    def _start(self) -> None:
        edge = subprocess.run([HERE / "install", "--where", "edge"], check=True, capture_output=True, text=True)
        definitions = Path(edge.stdout.strip()) / "crds.yaml"
        # Server-side, as the definitions are too large for kubectl's last-applied annotation.
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={definitions}")
        objects = list(yaml.safe_load_all((MANIFESTS / "traefik.yaml").read_text()))
        self.cluster.apply(*(each for each in objects if each["kind"] == "Service"))
        self.address = self.cluster.json("get", "service", "traefik", TRAEFIK)["spec"]["clusterIP"]
        self.authority.start({HOST: self.address, RENEWED_HOST: self.address})
        self.trust_only(self.root)
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "slipway-test-authority", "namespace": "kube-system"},
                "data": {"tls.crt": self.authority.certificate.read_text()},
            }
        )
        self.configure(self.arguments)

    def _wait_for_traefik(self) -> None:
        """Wait until all connections to both ports go to the newest Traefik."""
        self.cluster.wait_for_rollout("traefik", "kube-system")

        def answers() -> bool:
            return all(self._answer(scheme, "/", ANY_CERTIFICATE) for scheme in ("http", "https"))

        wait_for_service(answers, START_SECONDS, "Traefik")

    def _answer(self, scheme: str, path: str, trust: ssl.SSLContext) -> int | None:
        """Return the status code of a response on a new connection, or None."""
        try:
            with httpx.Client(transport=Routed(self.address, trust), timeout=5) as client:
                return client.get(f"{scheme}://{HOST}{path}").status_code
        except httpx.TransportError:
            return None
