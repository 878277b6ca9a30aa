"""What a Job says of its run. Pure."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from launcher.cluster import labels
from launcher.cluster.port import Manifest
from launcher.domain.names import is_run_id
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.domain.text import clean_json

_YEAR_SECONDS = 366 * 86400
_MOST = 2**63 - 1  # what MongoDB can hold


def name_of(job: Manifest) -> str:
    """Return the Job's name, which is the run id."""
    name: str = job["metadata"]["name"]
    return name


def annotation(job: Manifest, name: str) -> str | None:
    """Return an annotation."""
    text: str | None = (job["metadata"].get("annotations") or {}).get(name)
    return text


def names_its_pipeline(job: Manifest) -> bool:
    """Whether the Job says of which pipeline it is; one by hand that does not has exit codes of its own."""
    return annotation(job, labels.PIPELINE) is not None


def phase_of(job: Manifest) -> str:
    """Return how far the operator is with the Job; one that somebody else made, or copied, begins as queued."""
    if annotation(job, labels.PHASE_OWNER_UID) != job["metadata"].get("uid"):
        return labels.PHASE_QUEUED
    phase: str = (job["metadata"].get("labels") or {}).get(labels.PHASE, labels.PHASE_QUEUED)
    return phase


def suspended(job: Manifest) -> bool:
    """Say whether the Job may have no pod."""
    return bool(job["spec"].get("suspend"))


def cancelled(job: Manifest) -> bool:
    """Say whether somebody asked that the run ends."""
    return annotation(job, labels.CANCEL) is not None


def ended_for(job: Manifest) -> Reason | None:
    """Return why Slipway ends the run: because somebody asked, or for a reason of the operator's own."""
    if cancelled(job):
        return Reason.CANCELLED
    text = annotation(job, labels.TERMINATION_REASON)
    return Reason(text) if text in set(Reason) else None


def end_detail(job: Manifest) -> str:
    """Return what more the operator said of why it ends the run."""
    return annotation(job, labels.END_DETAIL) or ""


def finished(job: Manifest) -> str | None:
    """Return `Complete` or `Failed` where Kubernetes has finished the Job."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return None


def form_faults(job: Manifest) -> list[str]:
    """Say what keeps a Job from being a run; nothing where it keeps the form. Judged before its release."""
    spec, template = job["spec"], job["spec"]["template"]
    pod = template["spec"]
    kept = {
        "metadata.name must be of lower-case letters, digits and hyphens": is_run_id(name_of(job)),
        "spec.suspend must be true: the operator releases it when a slot is free": suspended(job),
        "spec.backoffLimit must be 0": spec.get("backoffLimit", 6) == 0,
        "spec.completions and spec.parallelism must be 1": {spec.get("completions", 1), spec.get("parallelism", 1)}
        == {1},
        "spec.podFailurePolicy must not be set: a run has one attempt": spec.get("podFailurePolicy") is None,
        "spec.activeDeadlineSeconds must not be set: it deletes the pod with its log; the pod's own keeps both": (
            spec.get("activeDeadlineSeconds") is None
        ),
        "spec.ttlSecondsAfterFinished must not be set: the operator sets it once the end is recorded": (
            spec.get("ttlSecondsAfterFinished") is None
        ),
        "spec.template.spec.activeDeadlineSeconds must be set: the quota counts pods with a deadline": (
            pod.get("activeDeadlineSeconds") is not None
        ),
        "spec.template.spec.restartPolicy must be Never": pod.get("restartPolicy") == "Never",
        f"spec.template.metadata.labels must have {labels.RUN}": labels.RUN
        in (template["metadata"].get("labels") or {}),
    }
    return [fault for fault, well in kept.items() if not well]


def record_of(job: Manifest) -> Run | None:
    """Return the record that the operator wrote onto the Job; None where there is none that can be read."""
    if phase_of(job) != labels.PHASE_RECORDED:
        return None
    try:
        return Run.from_json(annotation(job, labels.RECORD) or "")
    except ValueError:
        return None


def run_of(job: Manifest, *, start_grace_seconds: int) -> Run:
    """Return the run that a Job is: its record where it has one, else queued, as it was asked for."""
    if record := record_of(job):
        return record
    created_at = _moment(annotation(job, labels.QUEUED_AT)) or _moment(job["metadata"].get("creationTimestamp"))
    assert created_at is not None  # Kubernetes stamps every object
    deadline = job["spec"]["template"]["spec"].get("activeDeadlineSeconds") or 0
    return Run(
        run_id=name_of(job),
        job_id=annotation(job, labels.JOB_ID) or name_of(job),
        profile_ref=annotation(job, labels.PROFILE),
        pipeline=annotation(job, labels.PIPELINE) or "default",
        params=_params(annotation(job, labels.PARAMS)),
        priority=_whole(annotation(job, labels.PRIORITY), 0),
        timeout_seconds=min(
            _whole(annotation(job, labels.TIMEOUT_SECONDS), max(1, deadline - start_grace_seconds)), _YEAR_SECONDS
        ),
        created_at=created_at,
        updated_at=created_at,
        cancel_requested=cancelled(job),
        idempotency_hash=annotation(job, labels.IDEMPOTENCY),
        request_hash=annotation(job, labels.REQUEST) or "",
    )


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _whole(text: str | None, default: int) -> int:
    try:
        return max(-_MOST, min(int(text), _MOST)) if text else default
    except ValueError:
        return default


def _params(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return clean_json(found) if isinstance(found, dict) else {}
