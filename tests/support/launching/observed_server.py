"""A server for the scripts whose launcher, Redis and volume the tests can reach, so that its runs can be checked."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import yaml

from cluster.cluster import REPLACED_SECONDS, Cluster, wait_for_service
from launching.launcher import LauncherClient
from launching.policies import allow_tests
from launching.scripts import Server

PORTS = {"slipway-launcher": 8000, "slipway-redis": 6379}


class ObservedServer(Server):
    """A server whose runs can be checked. Call `connect` after whatever may have moved its launcher."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        super().__init__(cluster, directory)
        self.launcher = LauncherClient(self.secret)
        self.data = directory

    def connect(self) -> None:
        """Find launcher, Redis and volume of the current namespace, and wait until Slipway is healthy."""
        policies = (allow_tests(name, port, self.cluster.gateway) for name, port in PORTS.items())
        self.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(policies))
        self.launcher.secret = self.secret
        self.launcher.connect(f"http://{self._address('slipway-launcher')}")
        wait_for_service(self._healthy, REPLACED_SECONDS, f"a healthy launcher at {self.launcher.url}")
        password = base64.b64decode(self.json("get", "secret", "slipway-redis")["data"]["REDIS_PASSWORD"]).decode()
        self.launcher.environment["REDIS_URL"] = f"redis://:{password}@{self._address('slipway-redis')}:6379/5"
        volume = self.json("get", "persistentvolumeclaim", "slipway-data")["spec"]["volumeName"]
        self.data = Path(self.json("get", "persistentvolume", volume)["spec"]["local"]["path"])

    def remove(self) -> None:
        """Remove everything from the cluster."""
        self.launcher.client.close()
        super().remove()

    def _address(self, service: str) -> str:
        address: str = self.json("get", "service", service)["spec"]["clusterIP"]
        return address

    def _healthy(self) -> bool:
        try:
            return bool(
                httpx.get(f"{self.launcher.url}/health", trust_env=False, timeout=5).json()["status"] == "healthy"
            )
        except (httpx.TransportError, ValueError):
            return False
