"""The table of allowed connections, compared with the chart's network policies by cyclonus.

`tests/cluster/test_network_policies.py` compares the same table with real packets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.reachability import (
    INSIDE,
    NODE,
    OUTSIDE,
    PEERS,
    REACHED_BY,
    REACHED_BY_WITH_EVERYTHING,
    SERVICES,
    Peer,
    pairs,
    parsed,
)

from .conftest import EVERYTHING, Objects
from .simulation import Traffic, allowed

DOCKER = {"docker": Peer(address="172.18.0.3"), "other-docker": Peer(address="172.19.0.3")}
EVERYONE = PEERS | DOCKER

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
    tried = pairs(destinations, OUTSIDE | DOCKER.keys())
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
    assert found == {"redis 6379": INSIDE - {"redis"} | OUTSIDE | DOCKER.keys(), "api 443": INSIDE}


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
    peer, port, protocol = parsed(destination)
    return Traffic(source=EVERYONE[source], destination=EVERYONE[peer], port=port, protocol=protocol)
