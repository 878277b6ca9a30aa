"""The doctor's proof of an installation: starts probes in the cluster, and checks host name, certificate and clocks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from launcher.cli.findings import Finding
from launcher.cli.image_checks import image_findings
from launcher.cli.kubectl import ERRORS, error_text, items
from launcher.cli.network_checks import network_findings
from launcher.cli.probe_jobs import Created, ProbeFailed, make_probes, run_network_probe, run_pull_probe
from launcher.cli.server_checks import certificate_finding, clock_findings, dns_findings

_INTERNET = "acme-v02.api.letsencrypt.org"
"""The server on the internet that the probe connects to: the one from which Traefik gets its certificates."""
_POLICY_SECONDS = 30.0
"""How long a forbidden address may stay open after a pod's start: k3s needs a moment to install the pod's rules."""
_PULL_SECONDS = 240.0
_HOST = re.compile(r"Host\(`([^`]+)`\)")
_ERRORS = (*ERRORS, ProbeFailed)
_AGAIN = "Nothing was checked: fix this, and run this again. The launcher's image must be as new as this command."


def examine_installation(host: str = "", *, certificate: bool = True) -> list[Finding]:
    """Run all checks. `host` is the public host name, if it is not the one of the route or of RUNNER_URL.

    Without `certificate`, the name's certificate is not checked, because no route leads to Slipway yet.
    """
    try:
        excepted = _excepted_addresses()
        has_policies, host = excepted is not None, host or _route_host() or _runner_host()
        nodes = _node_addresses()
        seconds = _POLICY_SECONDS if has_policies else 0.0
        plan = {"nodes": [*nodes, *(excepted or ())], "internet": _INTERNET, "name": host or None, "seconds": seconds}
        made = make_probes(plan)
    except _ERRORS as exc:
        return [Finding("probes", "fail", f"not started: {error_text(exc)}", _AGAIN)]
    return [
        *_checked("network probe", lambda: _network(made["network"], seconds, has_policies, host, nodes, certificate)),
        *_checked("image probe", lambda: image_findings(made["images"], run_pull_probe(made["pull"], _PULL_SECONDS))),
    ]


def _checked(name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except _ERRORS as exc:
        return [Finding(name, "fail", f"not completed: {error_text(exc)}", _AGAIN)]


def _network(
    job: dict[str, Any], seconds: float, has_policies: bool, host: str, nodes: list[str], certificate: bool
) -> Iterator[Finding]:
    result: dict[str, Any]
    created: Created
    result, created = run_network_probe(job, seconds)
    yield from network_findings(result, has_policies=has_policies)
    if host:
        records = result["records"]
        yield from dns_findings(host, records, nodes)
        if certificate:
            yield certificate_finding(host, next(iter(records["A"] or ()), None))
    yield from clock_findings(result["clock_ahead"], created.clock_ahead)


def _excepted_addresses() -> list[str] | None:
    """Return the single addresses that the policy of runs excepts; None if it is not installed."""
    found = [each for each in items("networkpolicies") if each["metadata"]["name"] == "slipway-runs"]
    if not found:
        return None
    peers = [peer for rule in found[0]["spec"].get("egress", []) for peer in rule.get("to", [])]
    networks = [network for peer in peers for network in peer.get("ipBlock", {}).get("except", [])]
    return [network.removesuffix("/32") for network in networks if network.endswith("/32")]


def _route_host() -> str:
    """Return the host name of the Ingress, or of the route for an existing Traefik."""
    ingresses = [each for each in items("ingresses") if each["metadata"]["name"] == "slipway-launcher"]
    hosts = [rule.get("host") for each in ingresses for rule in each["spec"].get("rules", [])]
    for each in items("configmaps", "--selector=app.kubernetes.io/part-of=slipway"):
        if each["metadata"]["name"] == "slipway-traefik":
            hosts += _HOST.findall(each["data"]["slipway.yaml"])
    return next(filter(None, hosts), "")


def _runner_host() -> str:
    url = urlsplit(os.environ.get("RUNNER_URL") or "")
    return (url.hostname or "") if url.scheme == "https" else ""


def _node_addresses() -> list[str]:
    """Return the nodes' addresses; none if this account may not list nodes. The probe knows its own node's."""
    try:
        nodes = items("nodes")
    except ERRORS:
        return []
    addresses = [each for node in nodes for each in node["status"].get("addresses", [])]
    return list(dict.fromkeys(each["address"] for each in addresses if each["type"].endswith("IP")))
