"""The doctor's checks of Kubernetes, through kubectl and with the user's own rights."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from launcher.cli.findings import Finding
from launcher.cli.kubectl import ERRORS, error_text, items, kubeconfig, kubectl

_RIGHTS = (("create", "jobs"), ("get", "pods"), ("get", "pods/log"))
_DEPLOYMENTS = ("slipway-launcher", "slipway-operator")


def examine_cluster() -> list[Finding]:
    """Check the namespace's Deployments, pods, quota and claim, the user's rights, and the nodes."""
    if not shutil.which("kubectl"):
        return [Finding("cluster", "skip", "not checked: kubectl is not installed")]
    if not kubeconfig():
        return [Finding("cluster", "skip", "not checked: KUBECONFIG is not set")]
    try:
        kubectl("get", "--raw=/readyz")
        findings = []
        for name, look in (("pods", _pods), ("deployments", _deployments), ("quota", _quota), ("claim", _claim)):
            findings += _checked(name, look)
        return [Finding("cluster", "ok", "Kubernetes answers"), *findings, *_rights(), *_checked("node", _nodes)]
    except ERRORS as exc:
        return [Finding("cluster", "fail", error_text(exc), "Check KUBECONFIG, and that Kubernetes is up.")]


def _checked(name: str, look: Any) -> list[Finding]:
    try:
        return list(look())
    except subprocess.CalledProcessError as exc:
        return [Finding(name, "warn", f"not checked: {error_text(exc)}", "Use an account that may read it.")]


def _deployments() -> Iterator[Finding]:
    found = {each["metadata"]["name"]: each for each in items("deployments")}
    for name in _DEPLOYMENTS:
        if name not in found:
            yield Finding(name, "warn", "Deployment not found", "Set KUBE_NAMESPACE, or install Slipway's chart.")
            continue
        ready, wanted = found[name]["status"].get("readyReplicas", 0), found[name]["spec"].get("replicas", 1)
        do = (
            "" if ready >= wanted and wanted else f"See: kubectl describe deployment {name}; kubectl logs deploy/{name}"
        )
        yield Finding(name, "fail" if do else "ok", f"{ready} of {wanted} pods ready", do)


def _pods() -> Iterator[Finding]:
    stuck = 0
    for pod in items("pods"):
        name = pod["metadata"]["name"]
        for status in pod["status"].get("containerStatuses", []):
            waiting = status.get("state", {}).get("waiting", {})
            if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
                stuck += 1
                do = f"See: kubectl describe pod {name}"
                yield Finding("pods", "warn", f"{name} is waiting: {waiting.get('reason')}", do)
    if not stuck:
        yield Finding("pods", "ok", "no pod is stuck")


def _quota() -> Iterator[Finding]:
    found = [each for each in items("resourcequotas") if each["metadata"]["name"] == "slipway-runs"]
    if not found:
        yield Finding(
            "quota", "warn", "ResourceQuota slipway-runs not found", "Set KUBE_NAMESPACE, or install Slipway's chart."
        )
    for each in found:
        hard, used = each["spec"]["hard"], each.get("status", {}).get("used", {})
        yield Finding("quota", "ok", f"{used.get('pods', 0)} of {hard.get('pods')} pods for runs in use")


def _claim() -> Iterator[Finding]:
    name = os.environ.get("DATA_CLAIM") or "slipway-data"
    found = [each for each in items("persistentvolumeclaims") if each["metadata"]["name"] == name]
    if not found:
        yield Finding("claim", "fail", f"PersistentVolumeClaim {name} not found", "Create it, or set DATA_CLAIM.")
    for each in found:
        phase = each["status"].get("phase")
        bound = phase == "Bound"
        do = "" if bound else f"See: kubectl describe pvc {name}"
        yield Finding("claim", "ok" if bound else "fail", f"{name} is {phase}", do)


def _rights() -> list[Finding]:
    missing = []
    for verb, resource in _RIGHTS:
        try:
            kubectl("auth", "can-i", verb, resource, "--quiet")
        except subprocess.CalledProcessError:
            missing.append(f"{verb} {resource}")
    if missing:
        return [
            Finding(
                "rights",
                "warn",
                f"this account may not: {', '.join(missing)}",
                "Use an account with these rights, or add a Role.",
            )
        ]
    return [Finding("rights", "ok", "this account may create Jobs and read pods and their logs")]


def _nodes() -> Iterator[Finding]:
    for node in items("nodes"):
        name = node["metadata"]["name"]
        conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
        pressures = [kind for kind, is_so in conditions.items() if kind.endswith("Pressure") and is_so != "False"]
        if conditions.get("Ready") != "True":
            do = f"Look at the kubelet, on k3s: journalctl --unit k3s. See: kubectl describe node {name}"
            yield Finding("node", "fail", f"{name}: not ready", do)
        elif pressures:
            do = f"Free memory or disk space on it. See: kubectl describe node {name}"
            yield Finding("node", "fail", f"{name}: {', '.join(pressures)}", do)
        else:
            yield Finding("node", "ok", f"{name}: ready, no pressure")
