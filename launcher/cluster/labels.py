"""The names that launcher, operator, chart and people share. Labels select, annotations tell.

A Job with the label `slipway.dev/run` is a run, whoever created it; its name is the run id. What is not annotated has a
default: the job_id is the Job's name, the pipeline `default`, the priority 0, the time of queueing its creation.
"""

from __future__ import annotations

RUN = "slipway.dev/run"
"""Label of Jobs and their pods; any value, `"true"` by convention."""
RUN_VALUE = "true"
PHASE = "slipway.dev/phase"
"""Label of Jobs alone: how far the operator is with it."""
PHASE_QUEUED = "queued"
PHASE_RELEASED = "released"
PHASE_RECORDED = "recorded"
PHASE_OWNER_UID = "slipway.dev/phase-of"
"""Annotation: the uid of the Job that the operator wrote the phase onto. A copy of that Job bears it in vain."""
JOB_NAME = "batch.kubernetes.io/job-name"
JOB_UID = "batch.kubernetes.io/controller-uid"
"""Kubernetes' own labels of a Job's pods; a pod that was orphaned keeps them, while it loses its owner reference."""

JOB_ID = "slipway.dev/job-id"
PROFILE = "slipway.dev/profile"
PIPELINE = "slipway.dev/pipeline"
PARAMS = "slipway.dev/params"
PRIORITY = "slipway.dev/priority"
QUEUED_AT = "slipway.dev/queued-at"
"""RFC 3339 to the microsecond; Kubernetes' own creation time has whole seconds."""
TIMEOUT_SECONDS = "slipway.dev/timeout-seconds"
IDEMPOTENCY = "slipway.dev/idempotency"
"""Annotation, and label with its first 63 characters: the hash of the Idempotency-Key."""
REQUEST = "slipway.dev/request"
"""Annotation: what tells two requests apart under one Idempotency-Key."""

CANCEL = "slipway.dev/cancel"
"""Annotation: when somebody asked that the run ends."""
TERMINATION_REASON = "slipway.dev/end-for"
"""Annotation: the reason for which the operator ends the run; stored before it acts."""
END_DETAIL = "slipway.dev/end-detail"
"""Annotation: what more there is to say of that reason."""
RECORD = "slipway.dev/record"
"""Annotation: the run's final record as JSON, written with the phase `recorded`."""

CONTAINER = "pipeline"
LIVE_SELECTOR = f"{RUN},{PHASE}!={PHASE_RECORDED}"
QUEUE = "slipway-queue"
"""ConfigMap: `paused: "true"` holds the queue."""
QUOTA = "slipway-runs"
"""ResourceQuota behind the queue: pods with a deadline."""
LEASE = "slipway-operator"
"""Lease: the operator renews it as long as it lives."""
