"""Verdicts: what Kubernetes says of a run's end, and whether the recorded outcome says the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from checkers.findings import Finding
from checkers.podends import PodEnd, has_run
from checkers.records import CANCEL_ANNOTATION, Document, OutcomeFault, RunRecords


@dataclass(frozen=True)
class Claim:
    """A reason that a record may bear only where Kubernetes says so, and must where it does."""

    reason: str
    fault: OutcomeFault


CLAIMS: Mapping[str, Claim] = {  # what Kubernetes says: what the record says
    "OOMKilled": Claim("OutOfMemory", OutcomeFault.OUT_OF_MEMORY),
    "DeadlineExceeded": Claim("TimedOut", OutcomeFault.TIMED_OUT),
    "Evicted": Claim("Evicted", OutcomeFault.EVICTED),
    CANCEL_ANNOTATION: Claim("Cancelled", OutcomeFault.CANCELLED),
}
ENDED_WHILE_IT_RAN = frozenset({"ArtifactsTooLarge"})
"""Reasons of Slipway's own for ending a pod by its deadline, or for failing a run that ended well."""
ENDED_BEFORE_IT_RAN = frozenset({"InvalidImage", "ImagePull", "Unschedulable", "CannotStart", "Rejected"})
OWN_ERRORS = frozenset({"PipelineError", "KilledBySignal"})


def verdict_faults(records: RunRecords) -> Iterator[Finding]:
    """Compare the outcome with the Job and its pods, as far as they are there."""
    outcome = records.outcome
    if records.job is not None:
        yield from _ttl_faults(records, records.job)
    if outcome is None:
        return
    annotations = ((records.job or {}).get("metadata", {}).get("annotations")) or {}
    cancelled = CANCEL_ANNOTATION in annotations if records.job is not None else outcome["status"] == "cancelled"
    if outcome["status"] == "cancelled" and not cancelled:
        yield records.finding(OutcomeFault.CANCELLED, "cancelled, but the Job has no intent to cancel")
    if outcome["status"] == "completed" and "Failed" in _conditions(records.job):
        yield records.finding(OutcomeFault.COMPLETED_JOB_FAILED, f"{_conditions(records.job)['Failed']}")
    ran = [pod for pod in records.pods if has_run(pod)]
    if len(ran) > 1:
        names = sorted(pod["metadata"]["name"] for pod in ran)
        yield records.finding(OutcomeFault.MANY_PODS, ", ".join(names))
    if not records.pods:
        if "Complete" in _conditions(records.job):
            yield from _well_faults(records, outcome, cancelled)
        return
    pod = max(ran or records.pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    yield from _pod_faults(records, outcome, pod, cancelled)


def _pod_faults(records: RunRecords, outcome: Document, pod: Document, cancelled: bool) -> Iterator[Finding]:
    end = PodEnd.of(pod)
    deleted = end.deleted if records.deleted is None else records.deleted
    if outcome["status"] == "completed":
        if deleted:
            yield records.finding(OutcomeFault.COMPLETED_DELETED, f"{end}")
        if not end.well:
            yield records.finding(OutcomeFault.COMPLETED_POD_FAILED, f"{end}")
    elif end.well and deleted is False:
        yield from _well_faults(records, outcome, cancelled)
    if outcome.get("exit_code") != end.exit_code and (
        end.exit_code is not None or end.phase in ("Succeeded", "Failed")
    ):
        yield records.finding(OutcomeFault.EXIT_CODE, f"{outcome.get('exit_code')}, the container {end.exit_code}")
    yield from _claim_faults(records, outcome, end, has_run(pod), cancelled)
    yield from _own_error_faults(records, outcome, end, deleted, cancelled)


def _well_faults(records: RunRecords, outcome: Document, cancelled: bool) -> Iterator[Finding]:
    """Find what ended well without being completed: only a cancel or a limit of Slipway's own excuses it."""
    excused = outcome["status"] == "cancelled" and cancelled
    if outcome["status"] != "completed" and not excused and outcome.get("reason") not in ENDED_WHILE_IT_RAN:
        yield records.finding(OutcomeFault.NOT_COMPLETED, f"{outcome['status']}, {outcome.get('reason')}")


def _claim_faults(records: RunRecords, outcome: Document, end: PodEnd, ran: bool, cancelled: bool) -> Iterator[Finding]:
    reason, said = outcome.get("reason"), _said(end, cancelled)
    for word, claim in CLAIMS.items():
        if word != CANCEL_ANNOTATION and reason == claim.reason and word not in said:
            yield records.finding(claim.fault, f"{reason}, but Kubernetes says {said or end}")
    excuses = {CLAIMS[word].reason for word in said}
    if cancelled:
        excuses.add(CLAIMS[CANCEL_ANNOTATION].reason)
    if "DeadlineExceeded" in said:
        excuses |= ENDED_WHILE_IT_RAN if ran else ENDED_BEFORE_IT_RAN
        if _job_deleted(records):  # a pod that outlives its Job is ended so
            excuses.add("Deleted")
    if said and reason not in excuses:
        yield records.finding(CLAIMS[said[0]].fault, f"Kubernetes says {said}, but the record {reason}")


def _said(end: PodEnd, cancelled: bool) -> list[str]:
    """Return what the pod says of `CLAIMS`: most often one thing or nothing."""
    said = ["OOMKilled"] if end.container_reason == "OOMKilled" and end.exit_code != 0 else []
    if end.reason == "DeadlineExceeded":
        said.append(CANCEL_ANNOTATION if cancelled else "DeadlineExceeded")
    elif end.reason == "Evicted" or (end.pushed_out and not end.well):
        said.append("Evicted")
    return said


def _own_error_faults(
    records: RunRecords, outcome: Document, end: PodEnd, deleted: bool | None, cancelled: bool
) -> Iterator[Finding]:
    """Find other reasons where the pipeline failed by itself, and a deletion that was none."""
    if deleted is not False:
        return
    reason = outcome.get("reason")
    if reason == "Deleted" and not _job_deleted(records):
        yield records.finding(OutcomeFault.DELETED, f"neither the pod nor the Job was: {end}")
    excuses = OWN_ERRORS | ENDED_WHILE_IT_RAN | ({CLAIMS[CANCEL_ANNOTATION].reason} if cancelled else set())
    if end.reason is None and end.container_reason == "Error" and not end.well and reason not in excuses | {"Deleted"}:
        yield records.finding(OutcomeFault.OWN_ERROR, f"{reason}, but the pipeline ended with {end.exit_code}")


def _job_deleted(records: RunRecords) -> bool:
    return records.job is None or bool(records.job["metadata"].get("deletionTimestamp"))


def _ttl_faults(records: RunRecords, job: Document) -> Iterator[Finding]:
    ttl = job.get("spec", {}).get("ttlSecondsAfterFinished")
    if ttl is None and records.outcome is not None:
        yield records.finding(OutcomeFault.NO_TTL, f"{records.outcome['status']}")
    if ttl is not None and records.outcome is None:
        yield records.finding(OutcomeFault.TTL_WITHOUT_RECORD, f"{ttl} s")


def _conditions(job: Document | None) -> dict[str, str]:
    conditions = (job or {}).get("status", {}).get("conditions") or []
    return {one["type"]: one.get("reason", "") for one in conditions if one.get("status") == "True"}
