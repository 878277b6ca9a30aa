"""Builders of pods: a container that waits, runs or has terminated, and the conditions of a pod."""

from __future__ import annotations

from typing import Any

from launcher.cluster import pods

IMAGE = "localhost/slipway-pipeline:latest"
STARTED = "2026-11-24T08:00:02Z"
FINISHED = "2026-11-24T08:00:09Z"
DELETED_AT = "2026-11-24T08:00:19Z"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"
Pod = dict[str, Any]


def pod(phase: str = "Pending", *, node: str | None = "node", deleting: bool = False, **status: Any) -> Pod:
    metadata: dict[str, Any] = {
        "name": "4711-01jd-x7k2p",
        "uid": "0c7e",
        "resourceVersion": "90",
        "creationTimestamp": "2026-11-24T08:00:00Z",
        "labels": {"batch.kubernetes.io/job-name": "4711-01jd", "slipway.dev/run": "true"},
        "finalizers": ["batch.kubernetes.io/job-tracking"],
    }
    if deleting:
        metadata |= {"deletionTimestamp": DELETED_AT, "deletionGracePeriodSeconds": 10}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 1200,
        "containers": [{"name": "pipeline", "image": IMAGE}],
    }
    if node:
        spec["nodeName"] = node
    whole = {"metadata": metadata, "spec": spec, "status": {"phase": phase, "qosClass": "BestEffort", **status}}
    return pods.slim(whole)  # as the operator keeps it


def container(**state: dict[str, Any]) -> dict[str, Any]:
    return {
        "containerStatuses": [
            {
                "name": "pipeline",
                "image": IMAGE,
                "imageID": "",
                "ready": False,
                "started": "running" in state,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }
        ]
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return container(waiting={"reason": reason, "message": message} if message else {"reason": reason})


def running() -> dict[str, Any]:
    return container(running={"startedAt": STARTED})


def terminated(code: int, reason: str = "Error", message: str | None = None) -> dict[str, Any]:
    state: dict[str, Any] = {
        "exitCode": code,
        "reason": reason,
        "startedAt": STARTED,
        "finishedAt": FINISHED,
        "containerID": "containerd://1f2e",
    }
    return container(terminated=state if message is None else {**state, "message": message})


def scheduling(status: str, reason: str | None = None, message: str = "") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": status, "lastTransitionTime": STARTED}
    return {"conditions": [{**condition, "reason": reason, "message": message} if reason else condition]}


def disruption(reason: str, message: str = "") -> dict[str, Any]:
    initialized = {"type": "Initialized", "status": "True"}
    target = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return {"conditions": [initialized, target]}


FULL = "0/1 nodes are available: 1 Insufficient memory."
EVICTED: dict[str, Any] = {"reason": "Evicted", "message": "The node was low on resource: memory."}
DEADLINE_EXCEEDED: dict[str, Any] = {"reason": "DeadlineExceeded", "message": DEADLINE_MESSAGE}
NOT_FOUND = 'exec: "pythn": executable file not found in $PATH: unknown'
