"""A certificate authority for tests that validates challenges like Let's Encrypt: Pebble, in the cluster."""

from __future__ import annotations

import secrets
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx
import yaml

from cluster.cluster import HERE, Cluster, wait_until

MANIFESTS = HERE / "manifests"
START_SECONDS = 90


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


class Authority:
    """The authority in its own namespace. `root` trusts the certificates that it issues; `certificate` is its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._namespace = f"authority-{secrets.token_hex(4)}"
        self._folder = tempfile.TemporaryDirectory()
        self.name = f"pebble.{self._namespace}.svc"
        self.address = ""
        self.root = Path(self._folder.name) / "root.pem"
        self.certificate, self._key = make_certificate(Path(self._folder.name), self.name)

    def start(self, hosts: Mapping[str, str]) -> None:
        """Start it and fetch its root. `hosts` are the addresses of the names that it validates."""
        here = f"--namespace={self._namespace}"
        self._cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "pebble", "namespace": self._namespace},
                "stringData": {"tls.crt": self.certificate.read_text(), "tls.key": self._key.read_text()},
            },
        )
        objects = list(yaml.safe_load_all((MANIFESTS / "pebble.yaml").read_text()))
        [deployment] = [each for each in objects if each["kind"] == "Deployment"]
        aliases = [{"ip": address, "hostnames": [name]} for name, address in hosts.items()]
        deployment["spec"]["template"]["spec"]["hostAliases"] = aliases
        self._cluster.kubectl("apply", "--filename=-", here, input=yaml.safe_dump_all(objects))
        self._cluster.wait_for_rollout("pebble", self._namespace)
        self.address = self._cluster.json("get", "service", "pebble", here)["spec"]["clusterIP"]
        self.root.write_text(wait_until(self._fetch_root, START_SECONDS, "the test authority's root"))

    def remove(self) -> None:
        """Remove it from the cluster."""
        self._cluster.kubectl("delete", "namespace", self._namespace, "--ignore-not-found", "--wait=false")
        self._folder.cleanup()

    def traefik_arguments(
        self, certificate: str, *, resolver: str = "letsencrypt", profile: str = "lasting"
    ) -> list[str]:
        """Return the arguments with which Traefik's resolver uses it; `certificate` is its path there."""
        acme = f"--certificatesResolvers.{resolver}.acme"
        options = {"caServer": f"https://{self.name}:14000/dir", "caCertificates": certificate, "profile": profile}
        return [f"{acme}.{name}={value}" for name, value in options.items()]

    def _fetch_root(self) -> str:
        trust = ssl.create_default_context(cafile=self.certificate)
        try:
            with httpx.Client(transport=Routed(self.address, trust)) as client:
                return client.get(f"https://{self.name}:15000/roots/0").raise_for_status().text
        except httpx.HTTPError:  # the Service routes to the pod shortly after it is ready
            return ""


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a self-signed certificate for a name, and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command = [*openssl, *about, "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return certificate, key
