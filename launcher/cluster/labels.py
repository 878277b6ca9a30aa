"""The labels, annotations and object names that the launcher, the operator, the chart and users share.

Every Job with the label `slipway.dev/run` is a run, and its name is the run id. Annotations have defaults: the job_id
is the Job's name, the pipeline `default`, the priority 0, the queue time the Job's creation.
"""

from __future__ import annotations

RUN = "slipway.dev/run"
"""Label of Jobs and their pods. Any value counts; Slipway writes `"true"`."""
RUN_VALUE = "true"
PHASE = "slipway.dev/phase"
"""Label of Jobs: how far the operator has taken the run."""
PHASE_QUEUED = "queued"
PHASE_RELEASED = "released"
PHASE_RECORDED = "recorded"
PHASE_OWNER_UID = "slipway.dev/phase-of"
"""Annotation: the uid of the Job that the phase belongs to. A copy of the Job has another uid, so it is queued."""
JOB_NAME = "batch.kubernetes.io/job-name"
JOB_UID = "batch.kubernetes.io/controller-uid"
"""Kubernetes' labels of a Job's pods. An orphaned pod loses its owner reference but keeps its labels."""

JOB_ID = "slipway.dev/job-id"
PROFILE = "slipway.dev/profile"
PIPELINE = "slipway.dev/pipeline"
PARAMS = "slipway.dev/params"
PRIORITY = "slipway.dev/priority"
QUEUED_AT = "slipway.dev/queued-at"
"""Annotation: RFC 3339 with microseconds. Kubernetes' creation timestamp has only whole seconds."""
TIMEOUT_SECONDS = "slipway.dev/timeout-seconds"
IDEMPOTENCY = "slipway.dev/idempotency"
"""Annotation: the hash of the Idempotency-Key. Label: its first 63 characters."""
REQUEST = "slipway.dev/request"
"""Annotation: the hash of the request, to detect another request with the same Idempotency-Key."""

CANCEL = "slipway.dev/cancel"
"""Annotation: when cancellation was requested."""
TERMINATION_REASON = "slipway.dev/end-for"
"""Annotation: why the operator terminates the run. It is stored before the run is terminated."""
TERMINATION_DETAIL = "slipway.dev/end-detail"
"""Annotation: details of the termination reason."""
RECORD = "slipway.dev/record"
"""Annotation: the run's final record as JSON, written together with the phase `recorded`."""

PROBE = "slipway.dev/probe"
"""Label of the Jobs with which the doctor tries what runs can reach. They are not runs."""

CONTAINER = "pipeline"
LIVE_SELECTOR = f"{RUN},{PHASE}!={PHASE_RECORDED}"
QUEUE = "slipway-queue"
"""ConfigMap: `paused: "true"` pauses the queue."""
QUOTA = "slipway-runs"
"""ResourceQuota that limits active runs. It counts pods with a deadline."""
LEASE = "slipway-operator"
"""Lease that the operator renews while it is alive."""
