"""The outcome checker finds nothing in a correct end of each sort, and each single fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.findings import report
from checkers.outcomes import Observation, check, check_observations
from checkers.records import OutcomeFault, RunRecords

RUN = "4711-01kav3mq8w3n0d3k2h7f6s9x1c"
CREATED, COMPLETED = "2026-11-24T08:00:00.123456Z", "2026-11-24T08:00:09.987654Z"
URLS = {"cv_md_url": f"/artifacts/{RUN}/CV.md"}
Dict = dict[str, Any]
GONE: Dict = {}


def records(
    status: str = "completed",
    reason: str = "Completed",
    exit_code: int | None = 0,
    *,
    pod: Dict | None = None,
    job: Dict | None = None,
    **changes: Any,
) -> RunRecords:
    """Return one end, told alike by all stores."""
    document = {
        "run_id": RUN,
        "status": status,
        "reason": reason,
        "exit_code": exit_code,
        "message": "A sentence.",
        "created_at": CREATED,
        "completed_at": COMPLETED,
        "artifacts": {"cv_md_url": "CV.md"},
    }
    item = {
        "jobId": 4711,
        "pipeline_run_id": RUN,
        "pipeline_status": status,
        "pipeline_run_at": datetime(2026, 11, 24, 8, 0, 0, 123000, tzinfo=UTC),
        "pipeline_completed_at": datetime(2026, 11, 24, 8, 0, 9, 987000),  # as a client without tz_aware
        "artifact_urls": URLS,
    }
    whole: Dict = {
        "run_id": RUN,
        "job": None if job is GONE else job or the_job("Complete" if status == "completed" else "Failed"),
        "pods": [pod or the_pod()],
        "archive": document,
        "redis": document,
        "pipeline_runs": {"_id": RUN, **document},
        "item": item,
        "rest": {**document, "completed_at": COMPLETED.replace("Z", "+00:00"), "artifacts": URLS},
    }
    return RunRecords(**{**whole, **changes})


def the_job(condition: str | None = None, *, cancel: bool = False, ttl: int | None = 3600) -> Dict:
    return {
        "metadata": {"name": RUN, "annotations": {"slipway.dev/cancel": "2026-11-24"} if cancel else {}},
        "spec": {"suspend": False, **({} if ttl is None else {"ttlSecondsAfterFinished": ttl})},
        "status": {"conditions": [{"type": condition, "status": "True"}] if condition else []},
    }


def the_pod(
    exit_code: int | None = 0,
    container_reason: str = "Completed",
    *,
    phase: str | None = None,
    reason: str | None = None,
    deleted_at: str | None = None,
    disruption: str | None = None,
    started_at: str | None = "2026-11-24T08:00:01Z",
    name: str = "a",
) -> Dict:
    ended = {
        "exitCode": exit_code,
        "reason": container_reason,
        "startedAt": started_at,
        "finishedAt": "2026-11-24T08:00:09Z",
    }
    state = {"waiting": {"reason": "ImagePullBackOff"}} if exit_code is None else {"terminated": ended}
    deletion = {"deletionTimestamp": deleted_at, "deletionGracePeriodSeconds": 30} if deleted_at else {}
    return {
        "metadata": {"name": f"{RUN}-{name}", "creationTimestamp": "2026-11-24T08:00:00Z", **deletion},
        "spec": {"containers": [{"name": "pipeline"}, {"name": "other"}]},
        "status": {
            "phase": phase or ("Succeeded" if exit_code == 0 else "Failed"),
            **({"reason": reason} if reason else {}),
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": disruption}] if disruption else [],
            "containerStatuses": [{"name": "other", "state": {}}, {"name": "pipeline", "state": state}],
        },
    }


WELL = the_pod()
ERROR = the_pod(3, "Error")
KILLED = the_pod(137, "Error")
OOM = the_pod(137, "OOMKilled")
SURVIVOR = the_pod(0, "OOMKilled")
LATE = the_pod(143, "Error", reason="DeadlineExceeded")
LATE_BUT_WELL = the_pod(0, phase="Failed", reason="DeadlineExceeded")
NOT_PULLED = the_pod(None, reason="DeadlineExceeded", phase="Failed")
GIVEN_UP = the_pod(
    137, "ContainerStatusUnknown", started_at=None, reason="DeadlineExceeded"
)  # so the kubelet writes NOT_PULLED a second later
EVICTED = the_pod(137, "Error", reason="Evicted")
PUSHED_OUT = the_pod(137, "Error", deleted_at="2026-11-24T08:00:35Z", disruption="EvictionByEvictionAPI")
DELETED_BUT_WELL = the_pod(0, deleted_at="2026-11-24T08:00:35Z")  # asked for at 08:00:05, ended at 08:00:09
TIDIED_UP = the_pod(0, deleted_at="2026-11-24T09:00:30Z")
SAME_SECOND = the_pod(0, deleted_at="2026-11-24T08:00:39Z")
CANCELLED_JOB = the_job("Failed", cancel=True)
STARTED = {"status": "running", "reason": None, "exit_code": None, "completed_at": None}

RIGHT = {
    "completed": records(),
    "completed, Job and pod are gone": records(pods=[], job=GONE),
    "completed, the pod is gone": records(pods=[]),
    "completed, the pod was tidied up later": records(pod=TIDIED_UP),
    "completed though a helper process was killed for memory": records(pod=SURVIVOR),
    "completed before a cancel came": records(job=the_job("Complete", cancel=True)),
    "cancelled just as it ended well": records("cancelled", "Cancelled", job=the_job("Complete", cancel=True)),
    "failed": records("failed", "PipelineError", 3, pod=ERROR),
    "killed": records("failed", "KilledBySignal", 137, pod=KILLED),
    "out of memory": records("failed", "OutOfMemory", 137, pod=OOM),
    "timed out": records("failed", "TimedOut", 143, pod=LATE),
    "timed out, and answered SIGTERM well": records("failed", "TimedOut", 0, pod=LATE_BUT_WELL),
    "too many artifacts": records("failed", "ArtifactsTooLarge", 143, pod=LATE),
    "evicted": records("failed", "Evicted", 137, pod=EVICTED),
    "evicted by the eviction API": records("failed", "Evicted", 137, pod=PUSHED_OUT),
    "cancelled": records("cancelled", "Cancelled", 143, pod=LATE, job=CANCELLED_JOB),
    "cancelled in the queue": records("cancelled", "Cancelled", None, pods=[], job=the_job(cancel=True)),
    "cancelled, the Job is gone": records("cancelled", "Cancelled", 143, pod=LATE, job=GONE),
    "image not pulled": records("failed", "ImagePull", None, pod=NOT_PULLED),
    "image not pulled, as the pod says later": records("failed", "ImagePull", None, pod=GIVEN_UP),
    "deleted": records("failed", "Deleted", 143, pod=the_pod(143, "Error", deleted_at="2026-11-24T08:00:35Z")),
    "deleted while it ran, and ended well": records("failed", "Deleted", 0, pod=DELETED_BUT_WELL),
    "deleted with its Job, which the pod outlived": records("failed", "Deleted", 143, pod=LATE, job=GONE),
    "deleted, the pod is gone": records("failed", "Deleted", None, pods=[]),
    "deleted in the second of its end": records("failed", "Deleted", 0, pod=SAME_SECOND),
    "completed in the second of its deletion": records(pod=SAME_SECOND),
    "without Redis and MongoDB": records(
        redis=None, pipeline_runs=None, item=None, unused=frozenset({"redis", "pipeline_runs", "level-2"})
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_end_has_no_findings(name: str) -> None:
    assert not check(RIGHT[name]), report(check(RIGHT[name]))


def changed(document: Mapping[str, Any] | None, **changes: Any) -> Dict:
    return {**(document or {}), **changes}


def told(one: RunRecords, *stores: str, **changes: Any) -> RunRecords:
    """Return the records with fields changed in some stores."""
    documents: Dict = {store: changed(getattr(one, store), **changes) for store in stores}
    return dataclasses.replace(one, **documents)


ALL = records()
EVERYWHERE = ("archive", "redis", "pipeline_runs", "rest")
WRONG = {
    "nobody has an outcome": (
        OutcomeFault.NO_OUTCOME,
        told(records(job=the_job("Complete", ttl=None)), *EVERYWHERE, **STARTED),
    ),
    "nobody knows the run": (
        OutcomeFault.NO_OUTCOME,
        records(job=the_job(ttl=None), archive=None, redis=None, pipeline_runs=None, item=None, rest=None),
    ),
    "two stores tell different ends": (
        OutcomeFault.MANY_OUTCOMES,
        told(ALL, "redis", status="failed", reason="TimedOut"),
    ),
    "the archive has no record": (OutcomeFault.MISSING_RECORD, records(archive=None)),
    "Redis has no record": (OutcomeFault.MISSING_RECORD, records(redis=None)),
    "MongoDB has no record": (OutcomeFault.MISSING_RECORD, records(pipeline_runs=None)),
    "REST has no record": (OutcomeFault.MISSING_RECORD, records(rest=None)),
    "the work item is missing": (OutcomeFault.MISSING_RECORD, records(item=None)),
    "a store has not heard of the end": (OutcomeFault.FIELD_DIFFERS, told(ALL, "redis", **STARTED)),
    **{
        f"{field} differs in {store}": (
            OutcomeFault.FIELD_DIFFERS,
            told(ALL, store, **{field: value}),
        )
        for store in ("redis", "pipeline_runs", "rest")
        for field, value in {
            "message": "Another sentence.",
            "completed_at": "2026-11-24T08:00:09.987655Z",
            "reason": "PipelineError",
            "exit_code": 1,
            "status": "failed",
        }.items()
    },
    **{
        f"the item's {field} differs": (OutcomeFault.ITEM_DIFFERS, told(ALL, "item", **{field: value}))
        for field, value in {
            "pipeline_run_id": "4711-b",
            "pipeline_status": "running",
            "pipeline_run_at": datetime(2026, 11, 24, 8, 0, 9, tzinfo=UTC),
            "pipeline_completed_at": None,
            "artifact_urls": {},
        }.items()
    },
    "completed for another reason": (OutcomeFault.STATUS_AND_REASON, records(reason="PipelineError")),
    "failed without a reason": (
        OutcomeFault.STATUS_AND_REASON,
        records("failed", "", None, pods=[]),
    ),
    "failed, reason Cancelled": (
        OutcomeFault.STATUS_AND_REASON,
        records("failed", "Cancelled", 143, pod=LATE, job=CANCELLED_JOB),
    ),
    "a run that ended well failed": (
        OutcomeFault.NOT_COMPLETED,
        records("failed", "PipelineError", 0, job=the_job("Complete")),
    ),
    "a survivor of memory pressure failed": (
        OutcomeFault.NOT_COMPLETED,
        records("failed", "PipelineError", 0, pod=SURVIVOR),
    ),
    "a run whose Job is complete failed": (
        OutcomeFault.NOT_COMPLETED,
        records("failed", "NodeLost", None, pods=[], job=the_job("Complete")),
    ),
    "completed though the Job has failed": (OutcomeFault.COMPLETED_JOB_FAILED, records(job=the_job("Failed"))),
    "completed though the pod has failed": (OutcomeFault.COMPLETED_POD_FAILED, records(exit_code=3, pod=ERROR)),
    "completed though it was timed out": (OutcomeFault.COMPLETED_POD_FAILED, records(pod=LATE_BUT_WELL)),
    "completed though the pod was being deleted": (OutcomeFault.COMPLETED_DELETED, records(pod=DELETED_BUT_WELL)),
    "completed though somebody deleted the pod": (
        OutcomeFault.COMPLETED_DELETED,
        records(pod=SAME_SECOND, deleted=True),
    ),
    "the exit code is another": (OutcomeFault.EXIT_CODE, records("failed", "PipelineError", 1, pod=ERROR)),
    "the exit code is missing": (OutcomeFault.EXIT_CODE, records("failed", "PipelineError", None, pod=ERROR)),
    "there is an exit code that the kubelet made up": (
        OutcomeFault.EXIT_CODE,
        records("failed", "ImagePull", 137, pod=GIVEN_UP),
    ),
    "an eviction is called a deletion": (OutcomeFault.EVICTED, records("failed", "Deleted", 137, pod=PUSHED_OUT)),
    "there is an exit code of nothing": (OutcomeFault.EXIT_CODE, records("failed", "ImagePull", 1, pod=NOT_PULLED)),
    "out of memory is called an error": (
        OutcomeFault.OUT_OF_MEMORY,
        records("failed", "KilledBySignal", 137, pod=OOM),
    ),
    "an error is called out of memory": (OutcomeFault.OUT_OF_MEMORY, records("failed", "OutOfMemory", 137, pod=KILLED)),
    "a timeout is called an error": (OutcomeFault.TIMED_OUT, records("failed", "PipelineError", 143, pod=LATE)),
    "a timeout is called a failed pull": (OutcomeFault.TIMED_OUT, records("failed", "ImagePull", 143, pod=LATE)),
    "an error is called a timeout": (OutcomeFault.TIMED_OUT, records("failed", "TimedOut", 3, pod=ERROR)),
    "a cancel is called a timeout": (
        OutcomeFault.TIMED_OUT,
        records("failed", "TimedOut", 143, pod=LATE, job=CANCELLED_JOB),
    ),
    "an eviction is called an error": (OutcomeFault.EVICTED, records("failed", "KilledBySignal", 137, pod=EVICTED)),
    "an error is called an eviction": (OutcomeFault.EVICTED, records("failed", "Evicted", 3, pod=ERROR)),
    "an error is called a deletion": (OutcomeFault.DELETED, records("failed", "Deleted", 3, pod=ERROR)),
    "an error is called something else": (OutcomeFault.OWN_ERROR, records("failed", "LauncherLost", 3, pod=ERROR)),
    "cancelled though nobody wanted it": (
        OutcomeFault.CANCELLED,
        records("cancelled", "Cancelled", None, pods=[], job=the_job("Failed")),
    ),
    "a cancel is called an error": (
        OutcomeFault.CANCELLED,
        records("failed", "PipelineError", 143, pod=LATE, job=CANCELLED_JOB),
    ),
    "two pods have run": (
        OutcomeFault.MANY_PODS,
        records(
            pods=[
                the_pod(3, "Error", name="b"),
                {**WELL, "metadata": {**WELL["metadata"], "creationTimestamp": "2026-11-24T08:00:05Z"}},
            ]
        ),
    ),
    "a recorded run's Job has no TTL": (OutcomeFault.NO_TTL, records(job=the_job("Complete", ttl=None))),
    "the Job has a TTL before the record is there": (
        OutcomeFault.TTL_WITHOUT_RECORD,
        told(ALL, *EVERYWHERE, **STARTED),
    ),
}
CASCADES = {  # what one fault brings with it
    OutcomeFault.MANY_OUTCOMES: {OutcomeFault.FIELD_DIFFERS},
    OutcomeFault.FIELD_DIFFERS: {OutcomeFault.MANY_OUTCOMES},
    OutcomeFault.NOT_COMPLETED: {OutcomeFault.OWN_ERROR},
    OutcomeFault.STATUS_AND_REASON: {OutcomeFault.NOT_COMPLETED},
    OutcomeFault.TIMED_OUT: {OutcomeFault.OWN_ERROR, OutcomeFault.CANCELLED},
    OutcomeFault.EVICTED: {OutcomeFault.OWN_ERROR},
    OutcomeFault.OUT_OF_MEMORY: {OutcomeFault.OWN_ERROR},
    OutcomeFault.TTL_WITHOUT_RECORD: {OutcomeFault.NO_OUTCOME},
    OutcomeFault.COMPLETED_POD_FAILED: {OutcomeFault.OWN_ERROR, OutcomeFault.TIMED_OUT},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_single_fault_is_found_and_nothing_else_is(name: str) -> None:
    fault, one = WRONG[name]
    found = {finding.kind for finding in check(one)}
    assert fault in found, report(check(one))
    assert found - {fault} <= CASCADES.get(fault, set()), report(check(one))


def test_each_kind_of_fault_is_tried() -> None:
    over_time = {OutcomeFault.TERMINAL_CHANGED, OutcomeFault.MOVED_BACKWARDS, OutcomeFault.UNKNOWN_STATUS}
    assert {fault for fault, _ in WRONG.values()} == set(OutcomeFault) - over_time


LIFE: list[Observation] = [
    (1.0, "queued", None),
    (2.0, "queued", None),
    (3.0, "running", None),
    (4.0, "completed", "Completed"),
    (5.0, "completed", "Completed"),
]


@pytest.mark.parametrize("observed", [[], LIFE, LIFE[:3], LIFE[3:], [LIFE[0], (2.0, "cancelled", "Cancelled")]])
def test_a_life_that_only_goes_forward_has_no_findings(observed: list[Observation]) -> None:
    assert not check_observations(RUN, observed)


@pytest.mark.parametrize(
    ("observed", "fault"),
    [
        ([*LIFE, (6.0, "failed", "PipelineError")], OutcomeFault.TERMINAL_CHANGED),
        ([*LIFE, (6.0, "running", None)], OutcomeFault.TERMINAL_CHANGED),
        ([*LIFE, (6.0, "completed", "TimedOut")], OutcomeFault.TERMINAL_CHANGED),
        ([*LIFE[:3], (3.5, "queued", None), *LIFE[3:]], OutcomeFault.MOVED_BACKWARDS),
        ([*LIFE[:3], (3.5, "resting", None), *LIFE[3:]], OutcomeFault.UNKNOWN_STATUS),
    ],
)
def test_a_state_that_goes_back_or_changes_after_the_end_is_found(
    observed: list[Observation], fault: OutcomeFault
) -> None:
    (finding,) = check_observations(RUN, observed)
    assert finding.kind is fault


@given(st.lists(st.sampled_from(["queued", "running", "completed", "failed", "cancelled"]), max_size=8))
def test_exactly_the_lives_that_only_go_forward_have_no_findings(statuses: list[str]) -> None:
    ranks = [{"queued": 0, "running": 1}.get(status, 2) for status in statuses]
    forward = ranks == sorted(ranks) and len({status for status in statuses if status[0] in "cf"}) <= 1
    assert bool(check_observations(RUN, [(0.0, status, None) for status in statuses])) is not forward
