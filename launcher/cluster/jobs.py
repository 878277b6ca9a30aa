"""Reads a run from its Job. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from launcher.cluster import labels
from launcher.cluster.port import Manifest
from launcher.domain.names import is_run_id
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.domain.text import clean_json

_LABELS = (labels.RUN, labels.PHASE)
_ANNOTATIONS = (
    labels.PHASE_OWNER_UID,
    labels.JOB_ID,
    labels.PROFILE,
    labels.PIPELINE,
    labels.PARAMS,
    labels.PRIORITY,
    labels.QUEUED_AT,
    labels.TIMEOUT_SECONDS,
    labels.IDEMPOTENCY,
    labels.REQUEST,
    labels.CANCEL,
    labels.TERMINATION_REASON,
    labels.TERMINATION_DETAIL,
    labels.RECORD,
)
_SPEC = (
    "suspend",
    "backoffLimit",
    "completions",
    "parallelism",
    "podFailurePolicy",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
_YEAR_SECONDS = 366 * 86400
_MAX_INT = 2**63 - 1  # the largest integer that MongoDB can store


def slim(job: Manifest) -> Manifest:
    """Return the part of a Job that Slipway reads. In memory, a whole one takes 20 KB, and thousands may be queued."""
    metadata = job["metadata"]
    return {
        "metadata": {
            **_picked(metadata, ("name", "uid", "resourceVersion", "creationTimestamp")),
            "labels": _picked(metadata.get("labels"), _LABELS),
            "annotations": _picked(metadata.get("annotations"), _ANNOTATIONS),
        },
        "spec": {**_picked(job["spec"], _SPEC), "template": _slim_template(job["spec"].get("template") or {})},
        "status": _picked(job.get("status"), ("conditions",)) if finished_condition(job) else {},
    }


def _slim_template(template: Manifest) -> Manifest:
    found = _picked((template.get("metadata") or {}).get("labels"), (labels.RUN,))
    spec = _picked(template.get("spec"), ("restartPolicy", "activeDeadlineSeconds"))
    return _shared_template(tuple(found.items()), tuple(spec.items()))


@lru_cache
def _shared_template(found: tuple[tuple[str, Any], ...], spec: tuple[tuple[str, Any], ...]) -> Manifest:
    """Return a template that the Jobs of a pipeline share. Nobody changes it."""
    return {"metadata": {"labels": dict(found)}, "spec": dict(spec)}


def _picked(fields: Manifest | None, names: Iterable[str]) -> Manifest:
    return {name: fields[name] for name in names if name in fields} if fields else {}


def name_of(job: Manifest) -> str:
    """Return the Job's name, which is the run id."""
    name: str = job["metadata"]["name"]
    return name


def annotation(job: Manifest, name: str) -> str | None:
    """Return an annotation of the Job; None if it does not exist."""
    text: str | None = (job["metadata"].get("annotations") or {}).get(name)
    return text


def names_pipeline(job: Manifest) -> bool:
    """Whether the Job names its pipeline. A handmade Job may not, and then no pipeline's exit codes apply to it."""
    return annotation(job, labels.PIPELINE) is not None


def phase_of(job: Manifest) -> str:
    """Return how far the operator has taken the Job. A Job made or copied by hand starts as queued."""
    if annotation(job, labels.PHASE_OWNER_UID) != job["metadata"].get("uid"):
        return labels.PHASE_QUEUED
    phase: str = (job["metadata"].get("labels") or {}).get(labels.PHASE, labels.PHASE_QUEUED)
    return phase


def suspended(job: Manifest) -> bool:
    """Whether the Job is suspended, so that it gets no pod."""
    return bool(job["spec"].get("suspend"))


def cancel_requested(job: Manifest) -> bool:
    """Whether cancellation has been requested."""
    return annotation(job, labels.CANCEL) is not None


def termination_reason(job: Manifest) -> Reason | None:
    """Return why Slipway terminates the run: a cancellation, or a reason that the operator stored."""
    if cancel_requested(job):
        return Reason.CANCELLED
    text = annotation(job, labels.TERMINATION_REASON)
    return Reason(text) if text in set(Reason) else None


def termination_detail(job: Manifest) -> str:
    """Return the details that the operator stored with the termination reason."""
    return annotation(job, labels.TERMINATION_DETAIL) or ""


def finished_condition(job: Manifest) -> str | None:
    """Return `Complete` or `Failed`; None if Kubernetes has not finished the Job."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return None


def requirement_faults(job: Manifest) -> list[str]:
    """Return the requirements for a run that the Job does not meet, to be checked before its release."""
    spec, template = job["spec"], job["spec"]["template"]
    pod = template["spec"]
    requirements = {
        "metadata.name must consist of lower-case letters, digits and hyphens": is_run_id(name_of(job)),
        "spec.suspend must be true: the operator releases it when a slot is free": suspended(job),
        "spec.backoffLimit must be 0": spec.get("backoffLimit", 6) == 0,
        "spec.completions and spec.parallelism must be 1": {spec.get("completions", 1), spec.get("parallelism", 1)}
        == {1},
        "spec.podFailurePolicy must not be set: a run has one attempt": spec.get("podFailurePolicy") is None,
        "spec.activeDeadlineSeconds must not be set: it deletes the pod with its log; the pod's own keeps both": (
            spec.get("activeDeadlineSeconds") is None
        ),
        "spec.ttlSecondsAfterFinished must not be set: the operator sets it once the outcome is recorded": (
            spec.get("ttlSecondsAfterFinished") is None
        ),
        "spec.template.spec.activeDeadlineSeconds must be set: the quota counts pods with a deadline": (
            pod.get("activeDeadlineSeconds") is not None
        ),
        "spec.template.spec.restartPolicy must be Never": pod.get("restartPolicy") == "Never",
        f"spec.template.metadata.labels must have {labels.RUN}": labels.RUN
        in (template["metadata"].get("labels") or {}),
    }
    return [fault for fault, met in requirements.items() if not met]


def record_of(job: Manifest) -> Run | None:
    """Return the final record that the operator wrote to the Job; None if there is none, or it cannot be read."""
    if phase_of(job) != labels.PHASE_RECORDED:
        return None
    try:
        return Run.from_json(annotation(job, labels.RECORD) or "")
    except ValueError:
        return None


def run_of(job: Manifest, *, start_grace_seconds: int) -> Run:
    """Return the Job's run: its final record if it has one, otherwise a queued run."""
    if record := record_of(job):
        return record
    created_at = _moment(annotation(job, labels.QUEUED_AT)) or _moment(job["metadata"].get("creationTimestamp"))
    assert created_at is not None  # Kubernetes sets it on every object
    deadline = job["spec"]["template"]["spec"].get("activeDeadlineSeconds") or 0
    return Run(
        run_id=name_of(job),
        job_id=annotation(job, labels.JOB_ID) or name_of(job),
        profile_ref=annotation(job, labels.PROFILE),
        pipeline=annotation(job, labels.PIPELINE) or "default",
        params=_params(annotation(job, labels.PARAMS)),
        priority=_integer(annotation(job, labels.PRIORITY), 0),
        timeout_seconds=min(
            _integer(annotation(job, labels.TIMEOUT_SECONDS), max(1, deadline - start_grace_seconds)), _YEAR_SECONDS
        ),
        created_at=created_at,
        updated_at=created_at,
        cancel_requested=cancel_requested(job),
        idempotency_hash=annotation(job, labels.IDEMPOTENCY),
        request_hash=annotation(job, labels.REQUEST) or "",
    )


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _integer(text: str | None, default: int) -> int:
    try:
        return max(-_MAX_INT, min(int(text), _MAX_INT)) if text else default
    except ValueError:
        return default


def _params(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return clean_json(found) if isinstance(found, dict) else {}
