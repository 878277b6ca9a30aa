"""The records of one run's outcome: its Kubernetes objects, and its record in each store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkers.findings import Finding

Document = Mapping[str, Any]
CANCEL_ANNOTATION = "slipway.dev/cancel"
"""On the Job: cancellation was requested."""
TERMINAL = frozenset({"completed", "failed", "cancelled"})
ARCHIVE, REDIS, HISTORY, ITEM, REST = "archive", "redis", "pipeline_runs", "level-2", "rest"


class OutcomeFault(StrEnum):
    """What can be wrong with an outcome."""

    NO_OUTCOME = "no outcome"
    MANY_OUTCOMES = "more than one outcome"
    MISSING_RECORD = "record missing"
    FIELD_DIFFERS = "record differs from the archive"
    ITEM_DIFFERS = "work item differs from the archive"
    STATUS_AND_REASON = "status and reason contradict each other"
    NOT_COMPLETED = "finished successfully, but not completed"
    COMPLETED_JOB_FAILED = "completed, but the Job has failed"
    COMPLETED_POD_FAILED = "completed, but the pod did not succeed"
    COMPLETED_DELETED = "completed, but the pod was being deleted"
    EXIT_CODE = "exit code differs from the container's"
    OUT_OF_MEMORY = "out of memory: record and container disagree"
    TIMED_OUT = "timed out: record and pod disagree"
    EVICTED = "evicted: record and pod disagree"
    DELETED = "deleted: record and pod disagree"
    OWN_ERROR = "the pipeline failed by itself, but the reason is another"
    CANCELLED = "cancelled: record and Job disagree"
    MANY_PODS = "more than one pod ran"
    NO_TTL = "recorded, but the Job has no TTL"
    TTL_WITHOUT_RECORD = "the Job has a TTL, but there is no record"
    TERMINAL_CHANGED = "terminal state changed"
    MOVED_BACKWARDS = "status moved backwards"
    UNKNOWN_STATUS = "unknown status"


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """Everything known about one run's outcome.

    `job` is None and `pods` is empty if they were deleted; they are then not checked. Pass the last known state of a
    pod rather than nothing. A store's document is None if it has none. `unused` names the stores that are not in use,
    and `level-2` if a newer run of the same job_id has overwritten the item. `deleted` says whether the pod was
    deleted while it was running; None derives this from the pod's times, which are whole seconds and may not show it.
    """

    run_id: str
    job: Document | None
    pods: Sequence[Document] = ()
    archive: Document | None
    redis: Document | None = None
    pipeline_runs: Document | None = None
    item: Document | None = None
    rest: Document | None = None
    unused: frozenset[str] = frozenset()
    deleted: bool | None = None

    @property
    def documents(self) -> dict[str, Document | None]:
        """The run's document in each store that is in use, the archive's first, without the work item."""
        found = {ARCHIVE: self.archive, REDIS: self.redis, HISTORY: self.pipeline_runs, REST: self.rest}
        return {store: document for store, document in found.items() if store not in self.unused}

    @property
    def outcome(self) -> Document | None:
        """The terminal record that the others are compared with: the archive's, or the first one found."""
        terminal = (one for one in self.documents.values() if one is not None and one.get("status") in TERMINAL)
        return next(terminal, None)

    def finding(self, kind: OutcomeFault, detail: str) -> Finding:
        """Return a finding of this run."""
        return Finding(kind, self.run_id, detail)
