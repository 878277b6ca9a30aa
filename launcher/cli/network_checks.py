"""The doctor's reading of the network probe: what a run can reach. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.cli.findings import Finding

POLICIES = "network policies"
_SERVICES = ("Redis", "launcher", "Kubernetes API")
_OF_THE_CHART = "See what allows it: kubectl describe networkpolicy slipway-runs, and networkPolicy.runExtraEgress."
_TO_CLOSE = {
    "node": "Set networkPolicy.nodeAddresses to the node's addresses. k8s/install.sh does it if it may list nodes.",
    "metadata address": "Keep 169.254.0.0/16 in networkPolicy.runExcept.",
}
_NO_POLICIES = "Install them: k8s/install.sh --set networkPolicy.enabled=true"
_NOT_ENFORCED = (
    "Let the cluster enforce them. k3s does, unless /etc/rancher/k3s/config.yaml has disable-network-policy; other "
    "clusters need a network plugin that does, for example Calico or Cilium."
)
_NO_NETWORK = "Check CoreDNS and the network plugin: kubectl -n kube-system get pods. Then run this again."


def network_findings(result: Mapping[str, Any], *, has_policies: bool) -> Iterator[Finding]:
    """Yield a finding for the policies as a whole, then one for everything that was tried."""
    tried = _by_name(result["forbidden"])
    has_network = result["dns"] or result["internet"]["reached"]
    yield _policies(tried, has_policies, has_network)
    for name, attempts in tried.items():
        yield _forbidden(name, attempts, has_network)
    yield _dns(result["dns"])
    yield _internet(result["internet"])


def isolation_fails(finding: Finding) -> bool:
    """Whether a finding says that runs can reach what they must not."""
    return finding.state == "fail" and (finding.check == POLICIES or finding.found.startswith("open"))


def _by_name(attempts: list[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for each in attempts:
        found.setdefault(each["name"], []).append(each)
    return found


def _policies(tried: Mapping[str, list[Mapping[str, Any]]], has_policies: bool, has_network: bool) -> Finding:
    states = {each["state"] for name in _SERVICES for each in tried.get(name, ())} - {"unresolved"}
    if not has_policies:
        return Finding(POLICIES, "fail", "not installed: runs are not isolated", _NO_POLICIES)
    if not has_network or not states:
        return Finding(POLICIES, "warn", "unknown: the probe had no network at all", _NO_NETWORK)
    if states == {"open"}:
        return Finding(POLICIES, "fail", "not enforced: runs are not isolated", _NOT_ENFORCED)
    late = {name: each["open_until"] for name, found in tried.items() for each in found if each["state"] == "closed"}
    late = {name: seconds for name, seconds in late.items() if seconds is not None}
    if not late:
        return Finding(POLICIES, "ok", "enforced from a pod's start")
    when = (
        f"enforced {max(late.values()):.1f} s after a pod's start; until then it can reach: {', '.join(sorted(late))}"
    )
    return Finding(POLICIES, "ok", when)


def _forbidden(name: str, attempts: list[Mapping[str, Any]], has_network: bool) -> Finding:
    check = f"run to {name}"
    reached = [str(each["address"]) for each in attempts if each["state"] == "open"]
    if reached:
        return Finding(check, "fail", f"open: {', '.join(reached)}", _TO_CLOSE.get(name, _OF_THE_CHART))
    addresses = ", ".join(str(each["address"]) for each in attempts)
    if any(each["state"] == "unresolved" for each in attempts):
        return Finding(check, "warn", f"not tried, because the name does not resolve: {addresses}", _NO_NETWORK)
    if not has_network:
        found = f"not reached, which proves nothing, because the probe had no network at all: {addresses}"
        return Finding(check, "warn", found, _NO_NETWORK)
    return Finding(check, "ok", f"refused: {addresses}")


def _dns(works: bool) -> Finding:
    if works:
        return Finding("run to DNS", "ok", "names resolve")
    do = "Check CoreDNS: kubectl -n kube-system get pods; kubectl -n kube-system logs -l k8s-app=kube-dns"
    return Finding("run to DNS", "fail", "names in the cluster do not resolve", do)


def _internet(attempt: Mapping[str, Any]) -> Finding:
    address = f"{attempt['host']}:443"
    if attempt["reached"]:
        return Finding("run to internet", "ok", f"reached: {address}")
    do = "Check the node's DNS servers and the firewall for outgoing HTTPS, and that networkPolicy.runPorts has 443."
    return Finding("run to internet", "warn", f"not reached: {address}", do)
