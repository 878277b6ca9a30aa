"""Verdicts: what Kubernetes reports about a run's pods, and whether the recorded outcome agrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from checkers.findings import Finding
from checkers.pod_termination import PodTermination, has_run
from checkers.records import CANCEL_ANNOTATION, Document, OutcomeFault, RunRecords


@dataclass(frozen=True)
class Claim:
    """A reason that a record must have exactly when Kubernetes reports it."""

    reason: str
    fault: OutcomeFault


CLAIMS: Mapping[str, Claim] = {  # what Kubernetes reports: what the record must say
    "OOMKilled": Claim("OutOfMemory", OutcomeFault.OUT_OF_MEMORY),
    "DeadlineExceeded": Claim("TimedOut", OutcomeFault.TIMED_OUT),
    "Evicted": Claim("Evicted", OutcomeFault.EVICTED),
    CANCEL_ANNOTATION: Claim("Cancelled", OutcomeFault.CANCELLED),
}
STOPPED_WHILE_RUNNING = frozenset({"ArtifactsTooLarge"})
"""Slipway's reasons to stop a pod by its deadline, or to fail a run whose pod succeeded."""
STOPPED_BEFORE_START = frozenset({"InvalidImage", "ImagePull", "Unschedulable", "CannotStart", "Rejected"})
OWN_ERRORS = frozenset({"PipelineError", "KilledBySignal"})


def verdict_faults(records: RunRecords) -> Iterator[Finding]:
    """Compare the outcome with the Job and its pods, if they still exist."""
    outcome = records.outcome
    if records.job is not None:
        yield from _ttl_faults(records, records.job)
    if outcome is None:
        return
    annotations = ((records.job or {}).get("metadata", {}).get("annotations")) or {}
    cancelled = CANCEL_ANNOTATION in annotations if records.job is not None else outcome["status"] == "cancelled"
    if outcome["status"] == "cancelled" and not cancelled:
        yield records.finding(OutcomeFault.CANCELLED, "cancelled, but the Job has no cancel annotation")
    if outcome["status"] == "completed" and "Failed" in _conditions(records.job):
        yield records.finding(OutcomeFault.COMPLETED_JOB_FAILED, f"{_conditions(records.job)['Failed']}")
    ran = [pod for pod in records.pods if has_run(pod)]
    if len(ran) > 1:
        names = sorted(pod["metadata"]["name"] for pod in ran)
        yield records.finding(OutcomeFault.MANY_PODS, ", ".join(names))
    if not records.pods:
        if "Complete" in _conditions(records.job):
            yield from _success_faults(records, outcome, cancelled)
        return
    pod = max(ran or records.pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    yield from _pod_faults(records, outcome, pod, cancelled)


def _pod_faults(records: RunRecords, outcome: Document, pod: Document, cancelled: bool) -> Iterator[Finding]:
    end = PodTermination.of(pod)
    deleted = end.deleted if records.deleted is None else records.deleted
    if outcome["status"] == "completed":
        if deleted:
            yield records.finding(OutcomeFault.COMPLETED_DELETED, f"{end}")
        if not end.succeeded:
            yield records.finding(OutcomeFault.COMPLETED_POD_FAILED, f"{end}")
    elif end.succeeded and deleted is False:
        yield from _success_faults(records, outcome, cancelled)
    if outcome.get("exit_code") != end.exit_code and (
        end.exit_code is not None or end.phase in ("Succeeded", "Failed")
    ):
        yield records.finding(OutcomeFault.EXIT_CODE, f"{outcome.get('exit_code')}, the container {end.exit_code}")
    yield from _claim_faults(records, outcome, end, has_run(pod), cancelled)
    yield from _own_error_faults(records, outcome, end, deleted, cancelled)


def _success_faults(records: RunRecords, outcome: Document, cancelled: bool) -> Iterator[Finding]:
    """Find a successful pod whose run is not completed; only a cancellation or a limit of Slipway justifies that."""
    justified = outcome["status"] == "cancelled" and cancelled
    if outcome["status"] != "completed" and not justified and outcome.get("reason") not in STOPPED_WHILE_RUNNING:
        yield records.finding(OutcomeFault.NOT_COMPLETED, f"{outcome['status']}, {outcome.get('reason')}")


def _claim_faults(
    records: RunRecords, outcome: Document, end: PodTermination, ran: bool, cancelled: bool
) -> Iterator[Finding]:
    reason, reported = outcome.get("reason"), _reported(end, cancelled)
    for word, claim in CLAIMS.items():
        if word != CANCEL_ANNOTATION and reason == claim.reason and word not in reported:
            yield records.finding(claim.fault, f"{reason}, but Kubernetes reports {reported or end}")
    allowed = {CLAIMS[word].reason for word in reported}
    if cancelled:
        allowed.add(CLAIMS[CANCEL_ANNOTATION].reason)
    if "DeadlineExceeded" in reported:
        allowed |= STOPPED_WHILE_RUNNING if ran else STOPPED_BEFORE_START
        if _job_deleted(records):  # a pod that outlives its Job is stopped this way
            allowed.add("Deleted")
    if reported and reason not in allowed:
        detail = f"Kubernetes reports {reported}, but the record {reason}"
        yield records.finding(CLAIMS[reported[0]].fault, detail)


def _reported(end: PodTermination, cancelled: bool) -> list[str]:
    """Return the keys of `CLAIMS` that the pod reports: usually one or none."""
    reported = ["OOMKilled"] if end.container_reason == "OOMKilled" and end.exit_code != 0 else []
    if end.reason == "DeadlineExceeded":
        reported.append(CANCEL_ANNOTATION if cancelled else "DeadlineExceeded")
    elif end.reason == "Evicted" or (end.disrupted and not end.succeeded):
        reported.append("Evicted")
    return reported


def _own_error_faults(
    records: RunRecords, outcome: Document, end: PodTermination, deleted: bool | None, cancelled: bool
) -> Iterator[Finding]:
    """Find a wrong reason for a pipeline that failed by itself, and a `Deleted` without a deletion."""
    if deleted is not False:
        return
    reason = outcome.get("reason")
    if reason == "Deleted" and not _job_deleted(records):
        yield records.finding(OutcomeFault.DELETED, f"neither the pod nor the Job was deleted: {end}")
    allowed = OWN_ERRORS | STOPPED_WHILE_RUNNING | ({CLAIMS[CANCEL_ANNOTATION].reason} if cancelled else set())
    if (
        end.reason is None
        and end.container_reason == "Error"
        and not end.succeeded
        and reason not in allowed | {"Deleted"}
    ):
        yield records.finding(OutcomeFault.OWN_ERROR, f"{reason}, but the pipeline exited with {end.exit_code}")


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
