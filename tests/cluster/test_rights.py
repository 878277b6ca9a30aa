"""Launcher and operator have the rights that they use, in their namespace, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from launching.installation import Installation

EVERYBODY_MAY = ("selfsubject", "clustertrustbundles")
"""What Kubernetes itself lets every account do: ask who it is and what it may."""
LAUNCHER = {
    "batch/jobs": {"create", "get", "list", "patch"},
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
    """Return what an account may do in a namespace, as `kubectl auth can-i --list` finds it: verbs by resource."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    words = ("create", "--filename=-", "--validate=false", "--output=json")
    answer = json.loads(cluster.kubectl(*words, input=json.dumps(review), kubeconfig=kubeconfig))
    assert not answer["status"]["incomplete"]
    found: dict[str, set[str]] = {}
    for rule in answer["status"]["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    what = f"{group}/{resource}:{name}".rstrip(":")
                    if not resource.startswith(EVERYBODY_MAY):
                        found.setdefault(what, set()).update(rule["verbs"])
    return found


@pytest.mark.parametrize("account, expected", [("slipway-launcher", LAUNCHER), ("slipway-operator", OPERATOR)])
def test_an_account_may_do_what_it_does_and_nothing_else(
    account: str, expected: dict[str, set[str]], installation: Installation
) -> None:
    kubeconfig = installation.directory / f"{account}.kubeconfig"
    cluster, namespace = installation.cluster, installation.namespace
    assert rights(cluster, kubeconfig, namespace) == expected  # no secrets, no pods/exec, no wildcard
    assert rights(cluster, kubeconfig, "kube-system") == {}  # nor anything that counts in every namespace
