"""The network probe: tries, in a pod like a run's, what a run can reach, and prints the result as JSON.

It needs only the standard library: `python -m launcher.cluster.network_probe PLAN`. The plan has `forbidden` (addresses
by name), `node_ports`, `internet` (a server that runs may reach), `name` (the public host name, or null) and `seconds`
(how long a forbidden address may stay open, because some clusters enforce policies only a while after a pod's start).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

_CONNECT_SECONDS = 2.0
_DNS_SECONDS = 10.0
_INTERNET_SECONDS = 3.0
_PAUSE_SECONDS = 0.2
_REFUSALS = 2
"""An address is closed if this many attempts in a row fail."""
_CLUSTER_NAME = "kubernetes.default.svc"
_HTTPS = 443
_ROUTES = Path("/proc/net/route")


class Target(NamedTuple):
    """An address that a run must not reach."""

    name: str
    host: str
    port: int


class Probe:
    """One round of attempts. Forbidden addresses are tried from the start, while the allowed ones are tried too."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._started = time.monotonic()
        self._network_tried = threading.Event()

    def run(self) -> dict[str, Any]:
        """Return what was reached."""
        targets = list(_targets(self._plan))
        with ThreadPoolExecutor(max_workers=max(1, len(targets))) as pool:
            tried = pool.map(self._until_closed, targets)
            allowed = self._allowed()
            return {**allowed, "forbidden": list(tried)}

    def _until_closed(self, target: Target) -> dict[str, Any]:
        """Try an address until it is closed, at least until it is known whether the pod has a network at all."""
        found = {"name": target.name, "address": f"{target.host}:{target.port}"}
        refusals, open_until = 0, None
        while True:
            network_tried = self._network_tried.is_set()  # before this attempt: a refusal from before proves nothing
            try:
                opened = _reaches(target.host, target.port)
            except socket.gaierror:
                if network_tried:
                    return {**found, "state": "unresolved", "open_until": None}
                time.sleep(_PAUSE_SECONDS)
                continue
            refusals = refusals + 1 if network_tried and not opened else 0
            if opened:
                open_until = round(self._elapsed, 2)
            if refusals >= _REFUSALS:
                return {**found, "state": "closed", "open_until": open_until}
            if opened and self._elapsed >= self._plan["seconds"]:
                return {**found, "state": "open", "open_until": open_until}
            time.sleep(_PAUSE_SECONDS)

    def _allowed(self) -> dict[str, Any]:
        try:
            dns = _retry(_DNS_SECONDS, lambda: bool(_addresses(_CLUSTER_NAME, socket.AF_UNSPEC)))
            internet = _retry(_INTERNET_SECONDS, lambda: _reached(self._plan["internet"]))
        finally:
            self._network_tried.set()
        name = self._plan.get("name")
        return {
            "dns": dns,
            "internet": {"host": self._plan["internet"], "reached": internet},
            "clock_ahead": _clock_ahead(self._plan["internet"]) if internet else None,
            "records": {"A": _addresses(f"{name}.", socket.AF_INET), "AAAA": _addresses(f"{name}.", socket.AF_INET6)}
            if name
            else None,
        }

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def _retry(seconds: float, attempt: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not (succeeded := attempt()) and time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
    return succeeded


def _targets(plan: dict[str, Any]) -> Iterator[Target]:
    forbidden = {name: list(addresses) for name, addresses in plan["forbidden"].items()}
    if api := os.environ.get("KUBERNETES_SERVICE_HOST"):
        forbidden.setdefault("Kubernetes API", []).append(f"{api}:{os.environ['KUBERNETES_SERVICE_PORT']}")
    hosts = [*plan.get("nodes", ()), *os.environ.get("NODE_ADDRESSES", "").split(","), *_gateways()]
    for host in dict.fromkeys(filter(None, hosts)):
        forbidden.setdefault("node", []).extend(f"{host}:{port}" for port in plan["node_ports"])
    for name, addresses in forbidden.items():
        for address in addresses:
            host, _, port = address.rpartition(":")
            yield Target(name, host, int(port))


def _gateways() -> Iterator[str]:
    """Yield the node's address on the network of its pods."""
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return
    for destination, gateway in (line.split()[1:3] for line in lines):
        if destination == "00000000":
            yield socket.inet_ntoa(struct.pack("<L", int(gateway, 16)))


def _reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except socket.gaierror:
        raise
    except OSError:
        return False
    return True


def _reached(host: str) -> bool:
    try:
        return _reaches(host, _HTTPS)
    except socket.gaierror:
        return False


def _addresses(name: str, family: int) -> list[str] | None:
    """Return the addresses of a name; None if the name cannot be looked up."""
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except socket.gaierror as exc:
        return None if exc.errno == socket.EAI_AGAIN else []
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _clock_ahead(host: str) -> float | None:
    """Return how many seconds the clock is ahead of a server's; None if the server does not say.

    The certificate is not checked, because a wrong clock is a reason why the check would fail.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, _HTTPS, timeout=_CONNECT_SECONDS, context=context)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
        return None if date is None else round(time.time() - parsedate_to_datetime(date).timestamp() - 0.5, 1)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def main() -> None:
    """Run the plan in the first argument."""
    print(json.dumps(Probe(json.loads(sys.argv[1])).run()), flush=True)


if __name__ == "__main__":
    main()
