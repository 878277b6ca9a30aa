"""Who can access whom with the chart's network policies. The simulation and real packets must both show this table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from cluster.cluster import NODE_ADDRESS
from launcher.cluster import labels

NODE = "203.0.113.7"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An address; a pod also has labels and a namespace."""

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def _ours(address: str, **found: str) -> Peer:
    return Peer(address=address, namespace="slipway", labels=found)


def _named(name: str, address: str) -> Peer:
    return _ours(address, **{"app.kubernetes.io/name": name})


# The addresses of pods are examples; real pods have others.
PEERS = {
    "launcher": _named("slipway-launcher", "10.42.0.10"),
    "operator": _named("slipway-operator", "10.42.0.11"),
    "redis": _named("slipway-redis", "10.42.0.12"),
    "helm-test": _named("slipway-test", "10.42.0.13"),
    "run": _ours("10.42.0.20", **{labels.RUN: labels.RUN_VALUE, labels.JOB_NAME: "4711-x"}),
    "other-run": _ours("10.42.0.21", **{labels.RUN: labels.RUN_VALUE, labels.JOB_NAME: "4712-x"}),
    "stray": _ours("10.42.0.30", app="stray"),
    "traefik": Peer(address="10.42.0.40", namespace="kube-system", labels={"app.kubernetes.io/name": "traefik"}),
    "dns": Peer(address="10.42.0.41", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    "neighbour": Peer(address="10.42.0.50", namespace="default", labels={"app.kubernetes.io/name": "slipway-launcher"}),
    "prometheus": Peer(address="10.42.0.60", namespace="monitoring", labels={"app": "prometheus"}),
    "internet": Peer(address="198.51.100.9"),
    "api": Peer(address="10.43.0.1"),  # the Service kubernetes
    "node": Peer(address=NODE),
    "node-private": Peer(address=NODE_ADDRESS),
    "metadata": Peer(address="169.254.169.254"),
    "private": Peer(address="10.9.0.4"),
    "internet-v6": Peer(address="2001:db8::9"),
}
SERVICES = {"launcher", "operator"}
INSIDE = {name for name, peer in PEERS.items() if peer.namespace == "slipway"}
OUTSIDE = {"traefik", "neighbour", "prometheus", "internet", "dns"}
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


def pairs(destinations: Iterable[str], outside: Set[str] = frozenset(OUTSIDE)) -> list[tuple[str, str]]:
    """Return each source with each destination: peers outside the namespace only try to reach the pods inside it."""
    return [
        (source, destination)
        for destination in destinations
        for source in sorted(INSIDE | outside if destination.split()[0] in INSIDE else INSIDE)
        if source != destination.split()[0]
    ]


def parsed(destination: str) -> tuple[str, int, str]:
    """Return the peer, the port and the protocol of a destination such as `dns 53/UDP`."""
    peer, port = destination.split()
    number, _, protocol = port.partition("/")
    return peer, int(number), protocol or "TCP"
