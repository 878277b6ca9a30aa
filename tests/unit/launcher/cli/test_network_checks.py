"""What the doctor says about the network probe's result: each sentence, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.cli.findings import Finding
from launcher.cli.network_checks import POLICIES, isolation_fails, network_findings

ADDRESSES = {
    "Redis": "slipway-redis:6379",
    "launcher": "slipway-launcher:80",
    "Kubernetes API": "10.43.0.1:443",
    "metadata address": "169.254.169.254:80",
    "node": "203.0.113.7:22",
}


def attempt(name: str, state: str = "closed", open_until: float | None = None) -> dict[str, Any]:
    return {"name": name, "address": ADDRESSES[name], "state": state, "open_until": open_until}


def result(*changed: dict[str, Any], dns: bool = True, internet: bool = True) -> dict[str, Any]:
    changes = {each["name"]: each for each in changed}
    forbidden = [changes.get(name, attempt(name)) for name in ADDRESSES]
    return {"dns": dns, "internet": {"host": "www.example", "reached": internet}, "forbidden": forbidden}


def findings(found: dict[str, Any], *, has_policies: bool = True) -> dict[str, Finding]:
    listed = list(network_findings(found, has_policies=has_policies))
    for each in listed:
        assert each.do or each.state == "ok", each  # each problem comes with a fix
    by_check = {each.check: each for each in listed}
    assert len(by_check) == len(listed)
    return by_check


def test_enforced_policies_are_ok_with_a_line_for_each_address() -> None:
    found = findings(result())
    assert {each.state for each in found.values()} == {"ok"}
    assert found[POLICIES].found == "enforced from a pod's start"
    for name, address in ADDRESSES.items():
        assert found[f"run to {name}"].found == f"refused: {address}"
    assert found["run to internet"].found == "reached: www.example:443"


def test_delay_until_policies_are_enforced_is_reported_with_what_was_open_meanwhile() -> None:
    found = findings(result(attempt("Redis", open_until=0.4), attempt("node", open_until=1.26)))
    assert found[POLICIES] == Finding(
        POLICIES, "ok", "enforced 1.3 s after a pod's start; until then it can reach: Redis, node"
    )
    assert found["run to Redis"].state == "ok"


def test_cluster_that_does_not_enforce_policies_is_a_fault() -> None:
    found = findings(result(*(attempt(name, "open", 30.0) for name in ADDRESSES if name != "metadata address")))
    assert (found[POLICIES].state, found[POLICIES].found) == ("fail", "not enforced: runs are not isolated")
    assert "disable-network-policy" in found[POLICIES].do and "Calico" in found[POLICIES].do
    assert found["run to Redis"].found == "open: slipway-redis:6379"
    exposed = {name for name, each in found.items() if isolation_fails(each)}
    assert exposed == {POLICIES, *(f"run to {name}" for name in ADDRESSES if name != "metadata address")}


def test_missing_policies_are_told_apart_from_policies_that_are_not_enforced() -> None:
    found = findings(result(*(attempt(name, "open", 0.0) for name in ADDRESSES)), has_policies=False)[POLICIES]
    assert (found.state, found.found) == ("fail", "not installed: runs are not isolated")
    assert "--set networkPolicy.enabled=true" in found.do
    assert isolation_fails(found)


@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("node", "networkPolicy.nodeAddresses"),
        ("metadata address", "networkPolicy.runExcept"),
        ("Redis", "networkPolicy.runExtraEgress"),
        ("Kubernetes API", "kubectl describe networkpolicy"),
    ],
)
def test_single_open_address_has_its_own_advice(name: str, do: str) -> None:
    found = findings(result(attempt(name, "open", 30.0)))
    assert found[POLICIES].state == "ok"
    open_one = found[f"run to {name}"]
    assert (open_one.state, open_one.found) == ("fail", f"open: {ADDRESSES[name]}")
    assert do in open_one.do and isolation_fails(open_one)


def test_probe_without_a_network_proves_nothing() -> None:
    found = findings(result(dns=False, internet=False))
    assert (found[POLICIES].state, found[POLICIES].found) == ("warn", "unknown: the probe had no network at all")
    assert "proves nothing" in found["run to Redis"].found and found["run to Redis"].state == "warn"
    assert not any(isolation_fails(each) for each in found.values())


def test_name_that_does_not_resolve_was_not_tried() -> None:
    found = findings(result(attempt("Redis", "unresolved")))["run to Redis"]
    assert found.state == "warn" and "does not resolve: slipway-redis:6379" in found.found


def test_missing_dns_is_a_fault_and_a_missing_internet_a_warning() -> None:
    without_dns = findings(result(dns=False))["run to DNS"]
    assert without_dns.state == "fail" and "CoreDNS" in without_dns.do and not isolation_fails(without_dns)
    offline = findings(result(internet=False))["run to internet"]
    assert (offline.state, offline.found) == ("warn", "not reached: www.example:443")
    assert "networkPolicy.runPorts" in offline.do
