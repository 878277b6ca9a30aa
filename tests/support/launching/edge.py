"""The edge of a VPS: k3s's Traefik, configured by k8s/traefik.yaml, and a test certificate authority.

Traefik gets the arguments that it has on k3s, and two more: the authority's address and its certificate.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from cluster.cluster import HERE, Cluster, wait_for_service, wait_until
from launching.service_process import ROOT

HOST = "runner.example.test"
MANIFESTS = HERE / "manifests"
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


class Routed(httpx.HTTPTransport):
    """Connects to one address for every host name, and still checks the certificate for that name."""

    def __init__(self, address: str, trust: ssl.SSLContext) -> None:
        super().__init__(verify=trust)
        self._address = address

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport`."""
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        request.url = request.url.copy_with(host=self._address)
        return super().handle_request(request)


class Edge:
    """Traefik and the authority, in the cluster."""

    url = f"https://{HOST}"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.authority_namespace = f"authority-{secrets.token_hex(4)}"
        self.address = ""
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name) / "root.pem"
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
        self.cluster.kubectl("delete", "namespace", self.authority_namespace, *options)
        self._folder.cleanup()

    @property
    def arguments(self) -> list[str]:
        """Traefik's arguments on k3s, and the address of the test authority."""
        acme = "--certificatesResolvers.letsencrypt.acme"
        return [
            *K3S_ARGUMENTS,
            *added_arguments(CONFIG.read_text()),
            f"{acme}.caServer=https://{self._authority_name}:14000/dir",
            f"{acme}.caCertificates=/authority/tls.crt",
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

    def certificate(self) -> Mapping[str, Any]:
        """Return Traefik's certificate for the public name, after checking its chain."""
        with (
            socket.create_connection((self.address, 443), timeout=10) as plain,
            self.trust.wrap_socket(plain, server_hostname=HOST) as secured,
        ):
            shown = secured.getpeercert()
        assert shown is not None
        return shown

    def wait_for_certificate(self) -> Mapping[str, Any]:
        """Wait until Traefik's certificate is one of the authority's, and return it."""

        def issued() -> Mapping[str, Any] | None:
            try:
                return self.certificate()
            except OSError:  # Traefik still has its self-signed certificate, or its pod was just replaced
                return None

        found = wait_until(issued, START_SECONDS, f"a certificate for {HOST}")
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
    @property
    def _authority_name(self) -> str:
        return f"pebble.{self.authority_namespace}.svc"

    def _start(self) -> None:
        edge = subprocess.run([HERE / "install", "--where", "edge"], check=True, capture_output=True, text=True)
        definitions = Path(edge.stdout.strip()) / "crds.yaml"
        # Server-side, as the definitions are too large for kubectl's last-applied annotation.
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={definitions}")
        objects = list(yaml.safe_load_all((MANIFESTS / "traefik.yaml").read_text()))
        self.cluster.apply(*(each for each in objects if each["kind"] == "Service"))
        self.address = self.cluster.json("get", "service", "traefik", TRAEFIK)["spec"]["clusterIP"]
        own = self._start_authority()
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "slipway-test-authority", "namespace": "kube-system"},
                "data": {"tls.crt": own.read_text()},
            }
        )
        self.configure(self.arguments)

    def _start_authority(self) -> Path:
        """Start Pebble, trust its root, and return its own server certificate."""
        here = f"--namespace={self.authority_namespace}"
        certificate, key = make_certificate(Path(self._folder.name), self._authority_name)
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.authority_namespace}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "pebble", "namespace": self.authority_namespace},
                "stringData": {"tls.crt": certificate.read_text(), "tls.key": key.read_text()},
            },
        )
        objects = list(yaml.safe_load_all((MANIFESTS / "pebble.yaml").read_text()))
        [deployment] = [each for each in objects if each["kind"] == "Deployment"]
        deployment["spec"]["template"]["spec"]["hostAliases"] = [{"ip": self.address, "hostnames": [HOST]}]
        self.cluster.kubectl("apply", "--filename=-", here, input=yaml.safe_dump_all(objects))
        self.cluster.wait_for_rollout("pebble", self.authority_namespace)
        address = self.cluster.json("get", "service", "pebble", here)["spec"]["clusterIP"]

        def root() -> str:
            try:
                with httpx.Client(transport=Routed(address, ssl.create_default_context(cafile=certificate))) as client:
                    return client.get(f"https://{self._authority_name}:15000/roots/0").raise_for_status().text
            except httpx.HTTPError:  # the Service routes to the pod shortly after it is ready
                return ""

        self.root.write_text(wait_until(root, START_SECONDS, "the test authority's root"))
        self.trust_only(self.root)
        return certificate

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


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a self-signed certificate for a name, and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command = [*openssl, *about, "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return certificate, key
