"""The table of allowed connections, compared with the chart's network policies by cyclonus.

k3s enforces network policies, but the test cluster does not, so they are simulated. The simulation ignores that a node
can always access its own pods (for the kubelet's probes), and that policies do not apply to pods in the host network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.cluster import labels

from .conftest import EVERYTHING, Objects
from .simulation import Peer, Traffic, allowed

NODE = "203.0.113.7"
NODE_PRIVATE = "10.0.0.5"


def ours(address: str, **found: str) -> Peer:
    return Peer(address=address, namespace="slipway", labels=found)


def named(name: str, address: str) -> Peer:
    return ours(address, **{"app.kubernetes.io/name": name})


PEERS = {
    "launcher": named("slipway-launcher", "10.42.0.10"),
    "operator": named("slipway-operator", "10.42.0.11"),
    "redis": named("slipway-redis", "10.42.0.12"),
    "helm-test": named("slipway-test", "10.42.0.13"),
    "run": ours("10.42.0.20", **{labels.RUN: labels.RUN_VALUE, labels.JOB_NAME: "4711-x"}),
    "other-run": ours("10.42.0.21", **{labels.RUN: labels.RUN_VALUE, labels.JOB_NAME: "4712-x"}),
    "stray": ours("10.42.0.30", app="stray"),
    "traefik": Peer(address="10.42.0.40", namespace="kube-system", labels={"app.kubernetes.io/name": "traefik"}),
    "dns": Peer(address="10.42.0.41", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    "neighbour": Peer(address="10.42.0.50", namespace="default", labels={"app.kubernetes.io/name": "slipway-launcher"}),
    "prometheus": Peer(address="10.42.0.60", namespace="monitoring", labels={"app": "prometheus"}),
    "docker": Peer(address="172.18.0.3"),
    "other-docker": Peer(address="172.19.0.3"),
    "internet": Peer(address="198.51.100.9"),
    "api": Peer(address="10.43.0.1"),  # the Service kubernetes
    "node": Peer(address=NODE),
    "node-private": Peer(address=NODE_PRIVATE),
    "metadata": Peer(address="169.254.169.254"),
    "private": Peer(address="10.9.0.4"),
    "internet-v6": Peer(address="2001:db8::9"),
}
SERVICES = {"launcher", "operator"}
INSIDE = {name for name, peer in PEERS.items() if peer.namespace == "slipway"}
OUTSIDE = {"traefik", "neighbour", "prometheus", "docker", "other-docker", "internet", "dns"}
"""Peers outside the namespace that try to connect too."""

# Who can access what; everyone else cannot.
REACHED_BY: dict[str, set[str]] = {
    "launcher 8000": {"traefik", "helm-test"},
    "launcher 22": set(),
    "operator 8081": set(),  # probes come from the node
    "operator 8082": set(),
    "redis 6379": SERVICES,
    "redis 22": set(),
    "run 8000": set(),
    "run 443": set(),  # runs accept no connections, not even from services, whose egress rules name no address
    "other-run 80": set(),
    "stray 8000": set(),
    "dns 53/UDP": SERVICES | {"run", "other-run", "helm-test"},
    "dns 53": SERVICES | {"run", "other-run", "helm-test"},
    "dns 9153": set(),
    "traefik 8000": set(),
    "traefik 8443": set(),
    "neighbour 80": set(),
    "api 443": SERVICES,
    "node-private 6443": SERVICES,
    "node-private 443": SERVICES,
    "node-private 10250": set(),
    "node 443": SERVICES,
    "node 80": set(),
    "node 6443": SERVICES,
    "node 22": set(),
    "node 27017": SERVICES,
    "internet 443": SERVICES | {"run", "other-run"},
    "internet 80": {"run", "other-run"},
    "internet 6443": SERVICES,
    "internet 25": set(),
    "internet 27017": SERVICES | {"run", "other-run"},
    "internet-v6 443": SERVICES,
    "metadata 80": set(),
    "private 27017": SERVICES,
    "private 443": SERVICES,
    "private 5432": set(),
}

# What changes with everything enabled: metrics, another Redis, an additional egress rule for runs.
REACHED_BY_WITH_EVERYTHING = REACHED_BY | {
    "launcher 8000": {"traefik", "helm-test", "prometheus"},
    "operator 8082": {"prometheus"},
    "redis 6379": set(),
    "internet 6380": SERVICES,
    "private 5432": {"run", "other-run"},
}

# What changes beside an existing Traefik in Docker, with its Redis.
REACHED_BY_BESIDE_DOCKER = REACHED_BY | {
    "launcher 8000": {"traefik", "helm-test", "docker"},
    "redis 6379": set(),
    "docker 6379": SERVICES,
    "docker 5678": set(),
    "docker 443": SERVICES,
}
BESIDE_DOCKER = (
    f"networkPolicy.nodeAddresses={{{NODE}/32}},ingress.host=runner.example.com,ingress.external.enabled=true,"
    "ingress.external.networks={172.18.0.0/16},redis.enabled=false,redis.externalUrlSecret=slipway-env"
)


def table(
    objects: Callable[..., Objects], programs: Path, folder: Path, destinations: list[str], *given: Any
) -> dict[str, set[str]]:
    policies = [
        each | {"metadata": {**each["metadata"], "namespace": "slipway"}} for each in _policies(objects(*given))
    ]
    tried = [
        (source, destination)
        for destination in destinations
        for source in sorted(INSIDE | OUTSIDE if destination.split()[0] in INSIDE else INSIDE)
        if source != destination.split()[0]
    ]
    answers = allowed(programs / "cyclonus", policies, [_traffic(*each) for each in tried], folder)
    found: dict[str, set[str]] = {destination: set() for destination in destinations}
    for (source, destination), through in zip(tried, answers, strict=True):
        if through:
            found[destination].add(source)
    return found


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (REACHED_BY, (f"networkPolicy.nodeAddresses={{{NODE}/32}}",)),
        (REACHED_BY_WITH_EVERYTHING, ("", EVERYTHING)),
        (REACHED_BY_BESIDE_DOCKER, (BESIDE_DOCKER,)),
    ],
)
def test_policies_allow_exactly_the_table(
    expected: dict[str, set[str]],
    given: tuple[Any, ...],
    objects: Callable[..., Objects],
    programs: Path,
    tmp_path: Path,
) -> None:
    assert table(objects, programs, tmp_path, list(expected), *given) == expected


def test_runs_cannot_access_redis_the_api_server_or_the_launcher() -> None:
    for expected in (REACHED_BY, REACHED_BY_WITH_EVERYTHING):
        for destination, sources in expected.items():
            if destination.split()[0] in ("launcher", "operator", "redis", "api", "traefik", "node", "node-private"):
                assert not sources & {"run", "other-run"}, destination


def test_runs_can_access_the_nodes_public_address_unless_it_is_set(
    objects: Callable[..., Objects], programs: Path, tmp_path: Path
) -> None:
    found = table(objects, programs, tmp_path, ["node 443", "node 6443"])
    assert found == {"node 443": SERVICES | {"run", "other-run"}, "node 6443": SERVICES}


def test_everything_is_allowed_without_policies(
    objects: Callable[..., Objects], programs: Path, tmp_path: Path
) -> None:
    found = table(objects, programs, tmp_path, ["redis 6379", "api 443"], "networkPolicy.enabled=false")
    assert found == {"redis 6379": INSIDE - {"redis"} | OUTSIDE, "api 443": INSIDE}


def test_peers_have_the_labels_of_the_charts_pods(objects: Callable[..., Objects]) -> None:
    found = objects("cronJob.enabled=true")
    for kind, name in (("Deployment", "launcher"), ("Deployment", "operator"), ("StatefulSet", "redis")):
        pod = found[kind, f"slipway-{name}"]["spec"]["template"]["metadata"]["labels"]
        assert pod == PEERS[name].labels
    assert found["Pod", "slipway-test"]["metadata"]["labels"] == PEERS["helm-test"].labels
    job = found["CronJob", "slipway-example"]["spec"]["jobTemplate"]["spec"]
    assert job["template"]["metadata"]["labels"].items() <= PEERS["run"].labels.items()


def _policies(found: Objects) -> list[dict[str, Any]]:
    return [each for (kind, _), each in found.items() if kind == "NetworkPolicy"]


def _traffic(source: str, destination: str) -> Traffic:
    peer, port = destination.split()
    number, _, protocol = port.partition("/")
    return Traffic(source=PEERS[source], destination=PEERS[peer], port=int(number), protocol=protocol or "TCP")
