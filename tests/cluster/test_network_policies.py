"""Network policies as k3s enforces them: real packets reach exactly what the table, and so the simulation, allows."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import network_peer
from cluster.cluster import TESTS_IMAGE, Cluster, wait_until
from cluster.external_network import external_network
from cluster.reachability import (
    INSIDE,
    NODE,
    PEERS,
    REACHED_BY,
    REACHED_BY_WITH_EVERYTHING,
    pairs,
    parsed,
)
from launching.chart import CHART, helm
from launching.service_process import ROOT

START_SECONDS = 90.0
ENFORCED_SECONDS = 30.0
OPEN_SECONDS = 20.0  # on a busy machine; SECURITY.md says how long it takes otherwise
NODE_PORT = 30080
BEYOND = ("internet", "metadata", "private")
PROGRAM = Path(network_peer.__file__)
WITHOUT_IPV6 = {name for name in PEERS if name.endswith("-v6")}  # the node has IPv4 only
PODS = {name: peer for name, peer in PEERS.items() if peer.namespace is not None}
PORTS = {
    name: sorted({parsed(each)[1] for each in REACHED_BY_WITH_EVERYTHING if parsed(each)[0] == name}) for name in PEERS
}
EVERYTHING = f"--values={ROOT / 'tests/chart/everything.yaml'}"
DEFAULTS = f"--set=networkPolicy.nodeAddresses={{{NODE}/32}}"


class Network:
    """A pod for each peer of the table, and programs on the node and beyond it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self._prefix = f"network-{secrets.token_hex(4)}"
        self._rounds = 0
        self.addresses = {name: peer.address for name, peer in PEERS.items()}
        shutil.copy(PROGRAM, folder)

    def start(self, stack: ExitStack) -> None:
        """Start all peers, with the chart's policies already in place."""
        namespaces = {self._namespace(str(peer.namespace)) for peer in PODS.values()}
        stack.callback(self.cluster.kubectl, "delete", "namespace", "--wait=false", *namespaces)
        self.cluster.apply(
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces),
            *(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "peer", "namespace": name}}
                for name in namespaces
            ),
        )
        self.enforce(DEFAULTS)
        self.cluster.apply(*(self._pod(name, PORTS[name]) for name in PODS))
        node = self.cluster.node_process
        beyond = sorted({port for name in BEYOND for port in PORTS[name]})
        on_node = sorted({*PORTS["node"], *PORTS["node-private"], NODE_PORT})
        addresses = [PEERS[name].address for name in BEYOND]
        stack.enter_context(external_network(node, NODE, addresses, self._command("internet", beyond)))
        within = ["nsenter", f"--target={node}", "--net"]
        stack.callback(stack.enter_context(subprocess.Popen([*within, *self._command("node", on_node)])).kill)
        self._read([f"{name}-ready" for name in (*PODS, "internet", "node")], START_SECONDS)
        for name, address in zip(PODS, self._read([f"{name}-ready" for name in PODS], 0), strict=True):
            self.addresses[name] = address

    def enforce(self, *values: str) -> None:
        """Replace the policies with those that the chart renders with these values."""
        namespace = self._namespace("slipway")
        command = [str(helm()), "template", "slipway", str(CHART), f"--namespace={namespace}", *values]
        shown = [*command, "--show-only=templates/network/policies.yaml"]
        rendered = subprocess.run(shown, check=True, capture_output=True, text=True, timeout=60).stdout
        for name in ("kube-system", "monitoring"):
            label = "kubernetes.io/metadata.name: "
            rendered = rendered.replace(label + name, label + self._namespace(name))
        wanted = [each for each in yaml.safe_load_all(rendered) if each]
        names = {each["metadata"]["name"] for each in wanted}
        here = f"--namespace={namespace}"
        existing = {each["metadata"]["name"] for each in self.cluster.json("get", "networkpolicies", here)["items"]}
        self.cluster.kubectl("apply", "--filename=-", here, input=yaml.safe_dump_all(wanted))
        if obsolete := existing - names:
            self.cluster.kubectl("delete", "networkpolicies", here, *obsolete)

    def reached(self, attempts: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Let each source connect to its destinations, all at the same time, and return the attempts that succeeded."""
        by_source: dict[str, list[str]] = {}
        for source, destination in attempts:
            by_source.setdefault(source, []).append(destination)
        wanted = {source: [self._target(each) for each in found] for source, found in by_source.items()}
        network_peer.write(self.folder / f"attempts-{self._rounds}.json", wanted)
        answers = self._read([f"{source}-{self._rounds}" for source in by_source], START_SECONDS)
        self._rounds += 1
        return {
            (source, destination)
            for (source, destinations), answer in zip(by_source.items(), answers, strict=True)
            for destination, through in zip(destinations, answer, strict=True)
            if through
        }

    def rush(self, destinations: Sequence[str], *, allowed: str) -> tuple[dict[str, list[float]], set[str]]:
        """Start a run that tries all destinations from its first moment, and at the end one that is allowed.

        Return when each was first and last reached, and to which its first connection is still open at the end.
        """
        targets = {f"{target[0]}:{target[1]}": each for each in destinations for target in [self._target(each)]}
        wanted = {"forbidden": [self._target(each) for each in destinations], "allowed": self._target(allowed)}
        network_peer.write(self.folder / "targets.json", wanted)
        self.cluster.apply(self._pod("run", None, name="rush"))
        [answer] = self._read(["rush"], START_SECONDS)
        assert answer["has_network"]
        return (
            {targets[key]: times for key, times in answer["reached"].items()},
            {targets[key] for key in answer["still_open"]},
        )

    # -----------------------------------------------------------------------------------------------------------------
    def _namespace(self, name: str) -> str:
        """Return our own namespace for a namespace of the table, whose real one others may use."""
        return f"{self._prefix}-{name}"

    def _target(self, destination: str) -> network_peer.Target:
        name, port, protocol = parsed(destination)
        return self.addresses[name], port, protocol

    def _command(self, name: str, ports: Sequence[int] | None, python: str = sys.executable) -> list[str]:
        does = ["rush"] if ports is None else ["serve", *map(str, ports)]
        return [python, str(self.folder / PROGRAM.name), str(self.folder), name, *does]

    def _pod(self, peer: str, ports: Sequence[int] | None, name: str | None = None) -> dict[str, Any]:
        name = name or peer
        folder = str(self.folder)
        container = {
            "name": "peer",
            "image": TESTS_IMAGE,
            "command": self._command(name, ports, "python3"),
            "env": [{"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "volumeMounts": [{"name": "folder", "mountPath": folder}],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self._namespace(str(PEERS[peer].namespace)),
                "labels": dict(PEERS[peer].labels),
            },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "serviceAccountName": "peer",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "securityContext": {"runAsUser": 0, "runAsGroup": 0},  # binds ports below 1024
                "containers": [container],
                "volumes": [{"name": "folder", "hostPath": {"path": folder}}],
            },
        }

    def _read(self, names: Sequence[str], seconds: float) -> list[Any]:
        paths = [self.folder / f"{name}.json" for name in names]
        wait_until(lambda: all(path.exists() for path in paths), seconds, f"all of {', '.join(names)} in {self.folder}")
        return [json.loads(path.read_text()) for path in paths]


@pytest.fixture(scope="module")
def network(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    if not cluster.can_control:
        pytest.skip("The tests connect networks to their own node only.")
    network = Network(cluster, tmp_path_factory.mktemp("network"))
    with ExitStack() as stack:
        network.start(stack)
        yield network


def differences(network: Network, table: dict[str, set[str]]) -> dict[str, set[tuple[str, str]]]:
    """Try everything once, and return what was reached against the table, and what was not reached."""
    destinations = [each for each in table if parsed(each)[0] not in WITHOUT_IPV6]
    expected = {(source, destination) for destination in destinations for source in table[destination]}
    reached = network.reached(pairs(destinations))
    return {"reached": reached - expected, "not reached": expected - reached}


def expect(network: Network, table: dict[str, set[str]]) -> None:
    """Check that each source reaches what the table allows, and nothing else, once the policies are enforced."""
    deadline = time.monotonic() + ENFORCED_SECONDS
    while any((found := differences(network, table)).values()):
        assert time.monotonic() < deadline, found


def test_real_packets_reach_exactly_what_the_table_allows(network: Network) -> None:
    expect(network, REACHED_BY)


def test_node_can_access_its_own_pods(network: Network) -> None:
    attempts = [("node", each) for each in ("launcher 8000", "operator 8081", "redis 6379", "run 8000")]
    assert network.reached(attempts) == set(attempts)  # for the kubelet's probes, whatever the policies say


def test_node_ports_are_open_for_every_pod(network: Network) -> None:
    attempts = [("run", f"node-private {NODE_PORT}"), ("run", f"node {NODE_PORT}")]
    assert network.reached(attempts) == set(attempts)  # k3s does not filter 30000 to 32767 on the node's own addresses


def test_hostile_run_reaches_no_pod_of_slipway_and_nothing_else_for_long(network: Network) -> None:
    forbidden = [each for each, sources in REACHED_BY.items() if "run" not in sources]
    targets = [each for each in forbidden if parsed(each)[0] not in WITHOUT_IPV6 | {"run"}]
    reached, still_open = network.rush(targets, allowed="dns 53")
    # Their own policies protect these pods, whatever the state of the new pod's.
    assert {each for each in reached if parsed(each)[0] in INSIDE} == set()
    last = max((last for _, last in reached.values()), default=0.0)
    print(f"a new pod's traffic was open for {last:.2f} s: {sorted(reached)}; still open: {sorted(still_open)}")
    assert last < OPEN_SECONDS


def test_real_packets_reach_exactly_what_the_table_allows_with_everything_enabled(network: Network) -> None:
    network.enforce(EVERYTHING)
    expect(network, REACHED_BY_WITH_EVERYTHING)
