"""Builds the manifests and patches that Slipway sends to Kubernetes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from launcher.cluster import labels
from launcher.cluster.lease import LEASE_SECONDS
from launcher.cluster.port import Manifest
from launcher.domain.pipelines import Pipeline, run_environment
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.settings import SharedSettings

USER = 10001
"""User and group of the launcher, the operator and every run's pod. They share a volume."""
APPLICATIONS_SUBPATH = "applications"
_APPLICATIONS = "/app/applications"
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
_DISK = "ephemeral-storage"
_TEXT_ANNOTATIONS = {labels.JOB_ID: "job_id", labels.PROFILE: "profile_ref", labels.PIPELINE: "pipeline"}


def make_job(run: Run, pipeline: Pipeline, settings: SharedSettings) -> Manifest:
    """Return a run's Job: suspended, with the deadline on its pod, one attempt, and no TTL."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": run.run_id,
            "labels": _labels(run),
            "annotations": _annotations(run),
        },
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": {labels.RUN: labels.RUN_VALUE}},
                "spec": _pod(run, pipeline, settings),
            },
        },
    }


def _labels(run: Run) -> dict[str, str]:
    found = {labels.RUN: labels.RUN_VALUE, labels.PHASE: labels.PHASE_QUEUED}
    return {**found, labels.IDEMPOTENCY: run.idempotency_hash[:63]} if run.idempotency_hash else found


def _annotations(run: Run) -> dict[str, str]:
    found = {name: getattr(run, field) for name, field in _TEXT_ANNOTATIONS.items()}
    found |= {
        labels.PARAMS: json.dumps(dict(run.params), ensure_ascii=False) if run.params else None,
        labels.PRIORITY: str(run.priority) if run.priority else None,
        labels.QUEUED_AT: run.created_at.isoformat(timespec="microseconds"),
        labels.TIMEOUT_SECONDS: str(run.timeout_seconds),
        labels.IDEMPOTENCY: run.idempotency_hash,
        labels.REQUEST: run.request_hash or None,
    }
    return {name: text for name, text in found.items() if text is not None}


def _pod(run: Run, pipeline: Pipeline, settings: SharedSettings) -> Manifest:
    resources = _resources(pipeline, settings)
    disk = resources["limits"][_DISK]
    mounts: list[Manifest] = [
        {"name": "data", "mountPath": _APPLICATIONS, "subPath": f"{APPLICATIONS_SUBPATH}/{run.run_id}"},
        {"name": "home", "mountPath": "/home/slipway"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the browser's shared memory
    ]
    volumes: list[Manifest] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": settings.DATA_CLAIM}},
        {"name": "home", "emptyDir": {"sizeLimit": disk}},
        {"name": "tmp", "emptyDir": {"sizeLimit": disk}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ]
    if settings.MASTER_CV_CONFIGMAP:
        mounts.append(
            {"name": "master-cv", "mountPath": "/app/master-cv.md", "subPath": "master-cv.md", "readOnly": True}
        )
        volumes.append({"name": "master-cv", "configMap": {"name": settings.MASTER_CV_CONFIGMAP}})
    if settings.CREDENTIALS_SECRET:
        mounts.append({"name": "credentials", "mountPath": "/app/credentials", "readOnly": True})
        volumes.append({"name": "credentials", "secret": {"secretName": settings.CREDENTIALS_SECRET}})
    container: Manifest = {
        "name": labels.CONTAINER,
        "image": pipeline.image or settings.PIPELINE_IMAGE,
        "args": [_escape(word) for word in pipeline.command_for(run.job_id, run.profile_ref)],
        "env": [{"name": name, "value": _escape(value)} for name, value in _environment(run).items()],
        "resources": resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _RESTRICTED,
        "volumeMounts": mounts,
    }
    if settings.PIPELINE_SECRET:
        container["envFrom"] = [{"secretRef": {"name": settings.PIPELINE_SECRET}}]
    pod: Manifest = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": run.timeout_seconds + settings.START_GRACE_SECONDS,
        "terminationGracePeriodSeconds": max(1, round(settings.TERMINATION_GRACE_SECONDS)),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    if settings.IMAGE_PULL_SECRETS:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.IMAGE_PULL_SECRETS]
    return pod


def _resources(pipeline: Pipeline, settings: SharedSettings) -> dict[str, dict[str, Any]]:
    """Return the pipeline's resources, with a limit of ephemeral storage for its log, home and /tmp."""
    configured = {kind: pipeline.resources.get(kind, {}) for kind in ("limits", "requests")}
    own = [amounts[_DISK] for amounts in configured.values() if _DISK in amounts]
    disk = str(own[0] if own else settings.PIPELINE_EPHEMERAL_STORAGE)
    return {kind: {_DISK: disk, **amounts} for kind, amounts in configured.items()}


def _environment(run: Run) -> Mapping[str, str]:
    return {**run_environment(run, applications=_APPLICATIONS), "HOME": "/home/slipway"}


def _escape(text: str) -> str:
    """Escape dollar signs, because Kubernetes expands `$(NAME)` in commands and values."""
    return text.replace("$", "$$")


def release_patch(job: Manifest) -> Manifest:
    """Release a Job, so that Kubernetes creates its pod.

    The patch requires the Job's uid but no resource version, because Kubernetes itself updates the status of a new Job.
    A run that is cancelled at the same moment is terminated as soon as the operator observes it.
    """
    return {
        "metadata": {
            "uid": job["metadata"]["uid"],
            "labels": {labels.PHASE: labels.PHASE_RELEASED},
            "annotations": {labels.PHASE_OWNER_UID: job["metadata"]["uid"]},
        },
        "spec": {"suspend": False},
    }


def cancel_patch(at: datetime) -> Manifest:
    """Request cancellation of a run on its Job."""
    return {"metadata": {"annotations": {labels.CANCEL: at.isoformat(timespec="microseconds")}}}


def termination_patch(reason: Reason, detail: str, *, suspend: bool) -> Manifest:
    """Store why the operator terminates a run. `suspend` also deletes the Job's pod and prevents a new one."""
    annotations = {labels.TERMINATION_REASON: str(reason), labels.TERMINATION_DETAIL: detail}
    patch: Manifest = {"metadata": {"annotations": annotations}}
    return {**patch, "spec": {"suspend": True}} if suspend else patch


def deadline_patch() -> Manifest:
    """Stop a pod by its deadline. Its containers get their grace period, and the pod is kept with its log."""
    return {"spec": {"activeDeadlineSeconds": 1}}


def record_patch(job: Manifest, run: Run, ttl_seconds: int, *, suspend: bool = False) -> Manifest:
    """Write a run's final record to its Job and set the TTL. `suspend` also prevents the Job from running."""
    return {
        "metadata": {
            "labels": {labels.PHASE: labels.PHASE_RECORDED},
            "annotations": {labels.PHASE_OWNER_UID: job["metadata"]["uid"], labels.RECORD: run.to_json().decode()},
        },
        "spec": {"ttlSecondsAfterFinished": ttl_seconds, **({"suspend": True} if suspend else {})},
    }


def renewal_patch(holder: str, since: datetime, at: datetime) -> Manifest:
    """Renew the operator's Lease; the chart creates and deletes it."""
    return {
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": since.isoformat(timespec="microseconds"),
            "renewTime": at.isoformat(timespec="microseconds"),
        }
    }


def pause_patch(paused: bool) -> Manifest:
    """Pause or resume the queue."""
    return {"data": {"paused": str(paused).lower()}}
