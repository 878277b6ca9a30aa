"""Builders of what a decision depends on: a run, its Job and pod, and the facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from launcher.cluster import manifests
from launcher.domain.pipelines import Pipeline
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.settings import SharedSettings
from pipeline_operator.decisions import (
    Facts,
    Finish,
    Limits,
    RefreshPods,
    Step,
    Terminate,
    Wait,
)

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
QUEUED = Run(run_id="4711-01jd", job_id="4711", timeout_seconds=60, created_at=AT, updated_at=AT)
RUNNING = QUEUED.started(AT)
LIMITS = Limits(
    grace_seconds={Reason.IMAGE_PULL: 120, Reason.UNSCHEDULABLE: 300, Reason.CANNOT_START: 30},
    start_seconds=600,
)
Manifest = dict[str, Any]


def job(
    phase: str = "released",
    *,
    suspended: bool | None = None,
    cancelled: bool = False,
    end_for: str | None = None,
    end_detail: str | None = None,
    finished: str | None = None,
    faulty: bool = False,
) -> Manifest:
    made: Manifest = json.loads(json.dumps(manifests.make_job(QUEUED, Pipeline(), SharedSettings.from_environment({}))))
    made["metadata"] |= {"uid": "job", "resourceVersion": "7"}
    made["metadata"]["labels"]["slipway.dev/phase"] = phase
    made["metadata"]["annotations"]["slipway.dev/phase-of"] = "job"
    made["spec"]["suspend"] = phase == "queued" if suspended is None else suspended
    if cancelled:
        made["metadata"]["annotations"]["slipway.dev/cancel"] = AT.isoformat()
    if end_for:
        made["metadata"]["annotations"]["slipway.dev/end-for"] = end_for
    if end_detail:
        made["metadata"]["annotations"]["slipway.dev/end-detail"] = end_detail
    if finished:
        made["status"] = {"conditions": [{"type": finished, "status": "True"}]}
    if faulty:
        made["spec"]["backoffLimit"] = 6
    return made


def pod(kind: str, *, deleting: bool = False) -> Manifest:
    states: dict[str, Any] = {
        "running": {"running": {"startedAt": "2026-11-24T08:00:00Z"}},
        "succeeded": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-11-24T08:00:00Z"}},
        "failed": {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": "2026-11-24T08:00:00Z"}},
        "timed out": {"terminated": {"exitCode": 143, "reason": "Error", "startedAt": "2026-11-24T08:00:00Z"}},
        "creating": {"waiting": {"reason": "ContainerCreating"}},
        "pulling": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}},
        "misnamed": {"waiting": {"reason": "InvalidImageName"}},
        "refused": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}},
    }
    state = states.get(kind, {})
    phase = {"running": "Running", "succeeded": "Succeeded", "failed": "Failed", "timed out": "Failed"}.get(
        kind, "Pending"
    )
    status: dict[str, Any] = {"phase": phase, "containerStatuses": [{"name": "pipeline", "state": state}]}
    if kind == "timed out":
        status["reason"] = "DeadlineExceeded"
    if kind == "unschedulable":
        status["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    spec: dict[str, Any] = {"containers": [{"name": "pipeline", "image": "image"}]}
    if kind not in ("unscheduled", "unschedulable"):
        spec["nodeName"] = "node"
    metadata: dict[str, Any] = {"name": "4711-01jd-x7k2p", "uid": "pod", "resourceVersion": "9"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-24T08:00:30Z"
    return {"metadata": metadata, "spec": spec, "status": status}


def facts(after: float = 0, *, lasting: float = 0, **known: Any) -> Facts:
    moment = AT + timedelta(seconds=after)
    return Facts(**{"pods_listed": True, **known}, now=moment, cause_since=moment - timedelta(seconds=lasting))


CAUSES = {
    "no pod": None,
    "Unschedulable": pod("unschedulable"),
    "ImagePull": pod("pulling"),
    "InvalidImage": pod("misnamed"),
    "CannotStart": pod("refused"),
    "CannotStart slow": pod("creating"),
}
"""Each cause of waiting by its name, with a pod that shows it."""
GRACES = {"no pod": 30, "Unschedulable": 300, "ImagePull": 120, "CannotStart": 30, "CannotStart slow": 600}
"""How long each may last, in seconds. A cause that is not listed has no grace period."""


def summary(step: Step) -> str:
    """A step in a word or two."""
    match step:
        case Wait():
            return "wait"
        case RefreshPods():
            return "refresh pods"
        case Terminate(reason=reason):
            return f"terminate: {reason}"
        case Finish(outcome=outcome):
            return f"finish: {outcome.status}, {outcome.reason}"
