"""Network policies that let the tests reach services that only Slipway's own pods may reach."""

from __future__ import annotations

from typing import Any


def allow_tests(service: str, port: int, address: str) -> dict[str, Any]:
    """Return a policy that lets the tests, which connect from this address, reach a service's pods."""
    rule = {"from": [{"ipBlock": {"cidr": f"{address}/32"}}], "ports": [{"port": port}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"tests-{service}"},
        "spec": {"podSelector": {"matchLabels": {"app.kubernetes.io/name": service}}, "ingress": [rule]},
    }
