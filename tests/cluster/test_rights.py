"""Launcher and operator have only the permissions that they use, in their namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from launching.installation import Installation

GRANTED_TO_ALL = ("selfsubject", "clustertrustbundles")
"""Resources that Kubernetes lets every account use: asking for its own identity and permissions."""
LAUNCHER = {
    "batch/jobs": {"create", "get", "list", "watch", "patch"},
    "/configmaps:slipway-queue": {"get", "patch"},
    "coordination.k8s.io/leases:slipway-operator": {"get"},
}
OPERATOR = {
    "batch/jobs": {"get", "list", "watch", "patch", "delete"},
    "/pods": {"get", "list", "watch", "patch", "delete"},
    "/pods/log": {"get"},
    "/events": {"list"},
    "/configmaps:slipway-queue": {"get", "list", "watch"},
    "/resourcequotas:slipway-runs": {"get", "list", "watch"},
    "coordination.k8s.io/leases:slipway-operator": {"patch"},
}


@pytest.fixture(scope="module")
def installation(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(cluster, tmp_path_factory.mktemp("slipway")) as running:
        yield running


def rights(cluster: Cluster, kubeconfig: Path, namespace: str) -> dict[str, set[str]]:
    """Return an account's permissions in a namespace, like `kubectl auth can-i --list`: verbs by resource."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    arguments = ("create", "--filename=-", "--validate=false", "--output=json")
    answer = json.loads(cluster.kubectl(*arguments, input=json.dumps(review), kubeconfig=kubeconfig))
    assert not answer["status"]["incomplete"]
    found: dict[str, set[str]] = {}
    for rule in answer["status"]["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    key = f"{group}/{resource}:{name}".rstrip(":")
                    if not resource.startswith(GRANTED_TO_ALL):
                        found.setdefault(key, set()).update(rule["verbs"])
    return found


@pytest.mark.parametrize("account, expected", [("slipway-launcher", LAUNCHER), ("slipway-operator", OPERATOR)])
def test_account_has_only_the_permissions_it_uses(
    account: str, expected: dict[str, set[str]], installation: Installation
) -> None:
    kubeconfig = installation.directory / f"{account}.kubeconfig"
    cluster, namespace = installation.cluster, installation.namespace
    assert rights(cluster, kubeconfig, namespace) == expected  # no secrets, no pods/exec, no wildcard
    assert rights(cluster, kubeconfig, "kube-system") == {}  # and nothing cluster-wide
