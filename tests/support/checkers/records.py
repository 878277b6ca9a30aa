"""What was recorded of one run's end: its Kubernetes objects, and its record in each store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkers.findings import Finding

Document = Mapping[str, Any]
CANCEL_ANNOTATION = "slipway.dev/cancel"
"""On the Job: somebody wants the run cancelled."""
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
    NOT_COMPLETED = "ended well, but not completed"
    COMPLETED_JOB_FAILED = "completed, but the Job has failed"
    COMPLETED_POD_FAILED = "completed, but the pod has not ended well"
    COMPLETED_DELETED = "completed, but the pod was being deleted"
    EXIT_CODE = "exit code is not the container's"
    OUT_OF_MEMORY = "out of memory: record and container disagree"
    TIMED_OUT = "timed out: record and pod disagree"
    EVICTED = "evicted: record and pod disagree"
    DELETED = "deleted: record and pod disagree"
    OWN_ERROR = "the pipeline's own error has another reason"
    CANCELLED = "cancelled: record and Job disagree"
    MANY_PODS = "more than one pod has run"
    NO_TTL = "recorded, but the Job has no TTL"
    TTL_WITHOUT_RECORD = "the Job has a TTL, but there is no record"
    TERMINAL_CHANGED = "terminal state changed"
    WENT_BACK = "status went back"
    UNKNOWN_STATUS = "unknown status"


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """All that is known of one run's end.

    `job` is None and `pods` is empty where they are gone: then what they said is not judged. Give the last that was
    seen of a pod rather than nothing. A store's document is None where it has none; name the stores that are not in
    use in `unused`, and `level-2` where a newer run of the same job_id was launched since, whose item it is then.
    `deleted` says whether somebody deleted the pod while it ran; None lets the pod's own times say it, which have
    whole seconds: within one second it stays open.
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
        """The run's documents in each store that is in use, the archive's first; the work item is none of them."""
        found = {ARCHIVE: self.archive, REDIS: self.redis, HISTORY: self.pipeline_runs, REST: self.rest}
        return {store: document for store, document in found.items() if store not in self.unused}

    @property
    def outcome(self) -> Document | None:
        """The terminal record that the others are held against: the archive's, or the first that there is."""
        ended = (one for one in self.documents.values() if one is not None and one.get("status") in TERMINAL)
        return next(ended, None)

    def finding(self, kind: OutcomeFault, detail: str) -> Finding:
        """Return a finding of this run."""
        return Finding(kind, self.run_id, detail)
