"""The outcome checker finds every single fault, and nothing in a correct outcome of each kind."""

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
NO_JOB: Dict = {}


def records(
    status: str = "completed",
    reason: str = "Completed",
    exit_code: int | None = 0,
    *,
    pod: Dict | None = None,
    job: Dict | None = None,
    **changes: Any,
) -> RunRecords:
    """Return one outcome on which all stores agree."""
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
        "job": None if job is NO_JOB else job or the_job("Complete" if status == "completed" else "Failed"),
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
    terminated = {
        "exitCode": exit_code,
        "reason": container_reason,
        "startedAt": started_at,
        "finishedAt": "2026-11-24T08:00:09Z",
    }
    state = {"waiting": {"reason": "ImagePullBackOff"}} if exit_code is None else {"terminated": terminated}
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


SUCCEEDED = the_pod()
ERROR = the_pod(3, "Error")
KILLED = the_pod(137, "Error")
OOM = the_pod(137, "OOMKilled")
SURVIVOR = the_pod(0, "OOMKilled")
TIMED_OUT_POD = the_pod(143, "Error", reason="DeadlineExceeded")
TIMED_OUT_WITH_EXIT_0 = the_pod(0, phase="Failed", reason="DeadlineExceeded")
NOT_PULLED = the_pod(None, reason="DeadlineExceeded", phase="Failed")
GIVEN_UP = the_pod(
    137, "ContainerStatusUnknown", started_at=None, reason="DeadlineExceeded"
)  # what the kubelet makes of NOT_PULLED a second later
EVICTED = the_pod(137, "Error", reason="Evicted")
EVICTED_BY_API = the_pod(137, "Error", deleted_at="2026-11-24T08:00:35Z", disruption="EvictionByEvictionAPI")
DELETED_WITH_EXIT_0 = the_pod(
    0, deleted_at="2026-11-24T08:00:35Z"
)  # deletion requested at 08:00:05, finished at 08:00:09
DELETED_LATER = the_pod(0, deleted_at="2026-11-24T09:00:30Z")
DELETED_IN_THE_SAME_SECOND = the_pod(0, deleted_at="2026-11-24T08:00:39Z")
CANCELLED_JOB = the_job("Failed", cancel=True)
STARTED = {"status": "running", "reason": None, "exit_code": None, "completed_at": None}

CORRECT = {
    "completed": records(),
    "completed, neither Job nor pod left": records(pods=[], job=NO_JOB),
    "completed, no pod left": records(pods=[]),
    "completed, pod deleted later": records(pod=DELETED_LATER),
    "completed although a child process was OOM-killed": records(pod=SURVIVOR),
    "completed before the cancellation request": records(job=the_job("Complete", cancel=True)),
    "cancelled just as it finished successfully": records(
        "cancelled", "Cancelled", job=the_job("Complete", cancel=True)
    ),
    "failed": records("failed", "PipelineError", 3, pod=ERROR),
    "killed": records("failed", "KilledBySignal", 137, pod=KILLED),
    "out of memory": records("failed", "OutOfMemory", 137, pod=OOM),
    "timed out": records("failed", "TimedOut", 143, pod=TIMED_OUT_POD),
    "timed out, exit code 0 after SIGTERM": records("failed", "TimedOut", 0, pod=TIMED_OUT_WITH_EXIT_0),
    "too many artifacts": records("failed", "ArtifactsTooLarge", 143, pod=TIMED_OUT_POD),
    "evicted": records("failed", "Evicted", 137, pod=EVICTED),
    "evicted by the eviction API": records("failed", "Evicted", 137, pod=EVICTED_BY_API),
    "cancelled": records("cancelled", "Cancelled", 143, pod=TIMED_OUT_POD, job=CANCELLED_JOB),
    "cancelled in the queue": records("cancelled", "Cancelled", None, pods=[], job=the_job(cancel=True)),
    "cancelled, no Job left": records("cancelled", "Cancelled", 143, pod=TIMED_OUT_POD, job=NO_JOB),
    "image not pulled": records("failed", "ImagePull", None, pod=NOT_PULLED),
    "image not pulled, as the pod reports later": records("failed", "ImagePull", None, pod=GIVEN_UP),
    "deleted": records("failed", "Deleted", 143, pod=the_pod(143, "Error", deleted_at="2026-11-24T08:00:35Z")),
    "deleted while running, exit code 0": records("failed", "Deleted", 0, pod=DELETED_WITH_EXIT_0),
    "deleted with its Job, pod still there": records("failed", "Deleted", 143, pod=TIMED_OUT_POD, job=NO_JOB),
    "deleted, no pod left": records("failed", "Deleted", None, pods=[]),
    "deleted in the second in which it finished": records("failed", "Deleted", 0, pod=DELETED_IN_THE_SAME_SECOND),
    "completed in the second in which it was deleted": records(pod=DELETED_IN_THE_SAME_SECOND),
    "without Redis and MongoDB": records(
        redis=None, pipeline_runs=None, item=None, unused=frozenset({"redis", "pipeline_runs", "level-2"})
    ),
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_outcome_has_no_findings(name: str) -> None:
    assert not check(CORRECT[name]), report(check(CORRECT[name]))


def changed(document: Mapping[str, Any] | None, **changes: Any) -> Dict:
    return {**(document or {}), **changes}


def with_fields(one: RunRecords, *stores: str, **changes: Any) -> RunRecords:
    """Return the records with fields changed in some stores."""
    documents: Dict = {store: changed(getattr(one, store), **changes) for store in stores}
    return dataclasses.replace(one, **documents)


CONSISTENT = records()
EVERYWHERE = ("archive", "redis", "pipeline_runs", "rest")
FAULTY = {
    "no store has an outcome": (
        OutcomeFault.NO_OUTCOME,
        with_fields(records(job=the_job("Complete", ttl=None)), *EVERYWHERE, **STARTED),
    ),
    "no store has the run": (
        OutcomeFault.NO_OUTCOME,
        records(job=the_job(ttl=None), archive=None, redis=None, pipeline_runs=None, item=None, rest=None),
    ),
    "two stores have different outcomes": (
        OutcomeFault.MANY_OUTCOMES,
        with_fields(CONSISTENT, "redis", status="failed", reason="TimedOut"),
    ),
    "the archive has no record": (OutcomeFault.MISSING_RECORD, records(archive=None)),
    "Redis has no record": (OutcomeFault.MISSING_RECORD, records(redis=None)),
    "MongoDB has no record": (OutcomeFault.MISSING_RECORD, records(pipeline_runs=None)),
    "REST has no record": (OutcomeFault.MISSING_RECORD, records(rest=None)),
    "the work item is missing": (OutcomeFault.MISSING_RECORD, records(item=None)),
    "one store lacks the outcome": (OutcomeFault.FIELD_DIFFERS, with_fields(CONSISTENT, "redis", **STARTED)),
    **{
        f"{field} differs in {store}": (
            OutcomeFault.FIELD_DIFFERS,
            with_fields(CONSISTENT, store, **{field: value}),
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
        f"the item's {field} differs": (OutcomeFault.ITEM_DIFFERS, with_fields(CONSISTENT, "item", **{field: value}))
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
        records("failed", "Cancelled", 143, pod=TIMED_OUT_POD, job=CANCELLED_JOB),
    ),
    "exit code 0 is recorded as failed": (
        OutcomeFault.NOT_COMPLETED,
        records("failed", "PipelineError", 0, job=the_job("Complete")),
    ),
    "exit code 0 after an OOM kill is recorded as failed": (
        OutcomeFault.NOT_COMPLETED,
        records("failed", "PipelineError", 0, pod=SURVIVOR),
    ),
    "a complete Job is recorded as failed": (
        OutcomeFault.NOT_COMPLETED,
        records("failed", "NodeLost", None, pods=[], job=the_job("Complete")),
    ),
    "completed although the Job has failed": (OutcomeFault.COMPLETED_JOB_FAILED, records(job=the_job("Failed"))),
    "completed although the pod has failed": (OutcomeFault.COMPLETED_POD_FAILED, records(exit_code=3, pod=ERROR)),
    "completed although it timed out": (OutcomeFault.COMPLETED_POD_FAILED, records(pod=TIMED_OUT_WITH_EXIT_0)),
    "completed although the pod was being deleted": (OutcomeFault.COMPLETED_DELETED, records(pod=DELETED_WITH_EXIT_0)),
    "completed although someone deleted the pod": (
        OutcomeFault.COMPLETED_DELETED,
        records(pod=DELETED_IN_THE_SAME_SECOND, deleted=True),
    ),
    "the exit code is wrong": (OutcomeFault.EXIT_CODE, records("failed", "PipelineError", 1, pod=ERROR)),
    "the exit code is missing": (OutcomeFault.EXIT_CODE, records("failed", "PipelineError", None, pod=ERROR)),
    "the exit code is one that the kubelet made up": (
        OutcomeFault.EXIT_CODE,
        records("failed", "ImagePull", 137, pod=GIVEN_UP),
    ),
    "an eviction is recorded as a deletion": (
        OutcomeFault.EVICTED,
        records("failed", "Deleted", 137, pod=EVICTED_BY_API),
    ),
    "there is an exit code although nothing ran": (
        OutcomeFault.EXIT_CODE,
        records("failed", "ImagePull", 1, pod=NOT_PULLED),
    ),
    "out of memory is recorded as an error": (
        OutcomeFault.OUT_OF_MEMORY,
        records("failed", "KilledBySignal", 137, pod=OOM),
    ),
    "an error is recorded as out of memory": (
        OutcomeFault.OUT_OF_MEMORY,
        records("failed", "OutOfMemory", 137, pod=KILLED),
    ),
    "a timeout is recorded as an error": (
        OutcomeFault.TIMED_OUT,
        records("failed", "PipelineError", 143, pod=TIMED_OUT_POD),
    ),
    "a timeout is recorded as a failed pull": (
        OutcomeFault.TIMED_OUT,
        records("failed", "ImagePull", 143, pod=TIMED_OUT_POD),
    ),
    "an error is recorded as a timeout": (OutcomeFault.TIMED_OUT, records("failed", "TimedOut", 3, pod=ERROR)),
    "a cancellation is recorded as a timeout": (
        OutcomeFault.TIMED_OUT,
        records("failed", "TimedOut", 143, pod=TIMED_OUT_POD, job=CANCELLED_JOB),
    ),
    "an eviction is recorded as an error": (
        OutcomeFault.EVICTED,
        records("failed", "KilledBySignal", 137, pod=EVICTED),
    ),
    "an error is recorded as an eviction": (OutcomeFault.EVICTED, records("failed", "Evicted", 3, pod=ERROR)),
    "an error is recorded as a deletion": (OutcomeFault.DELETED, records("failed", "Deleted", 3, pod=ERROR)),
    "an error is recorded as something else": (OutcomeFault.OWN_ERROR, records("failed", "LauncherLost", 3, pod=ERROR)),
    "cancelled although nobody requested it": (
        OutcomeFault.CANCELLED,
        records("cancelled", "Cancelled", None, pods=[], job=the_job("Failed")),
    ),
    "a cancellation is recorded as an error": (
        OutcomeFault.CANCELLED,
        records("failed", "PipelineError", 143, pod=TIMED_OUT_POD, job=CANCELLED_JOB),
    ),
    "two pods ran": (
        OutcomeFault.MANY_PODS,
        records(
            pods=[
                the_pod(3, "Error", name="b"),
                {**SUCCEEDED, "metadata": {**SUCCEEDED["metadata"], "creationTimestamp": "2026-11-24T08:00:05Z"}},
            ]
        ),
    ),
    "a recorded run's Job has no TTL": (OutcomeFault.NO_TTL, records(job=the_job("Complete", ttl=None))),
    "the Job has a TTL before the outcome is recorded": (
        OutcomeFault.TTL_WITHOUT_RECORD,
        with_fields(CONSISTENT, *EVERYWHERE, **STARTED),
    ),
}
CASCADES = {  # faults that follow from another one
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


@pytest.mark.parametrize("name", FAULTY)
def test_a_single_fault_is_found_and_nothing_else(name: str) -> None:
    fault, one = FAULTY[name]
    found = {finding.kind for finding in check(one)}
    assert fault in found, report(check(one))
    assert found - {fault} <= CASCADES.get(fault, set()), report(check(one))


def test_every_kind_of_fault_is_covered() -> None:
    over_time = {OutcomeFault.TERMINAL_CHANGED, OutcomeFault.MOVED_BACKWARDS, OutcomeFault.UNKNOWN_STATUS}
    assert {fault for fault, _ in FAULTY.values()} == set(OutcomeFault) - over_time


HISTORY: list[Observation] = [
    (1.0, "queued", None),
    (2.0, "queued", None),
    (3.0, "running", None),
    (4.0, "completed", "Completed"),
    (5.0, "completed", "Completed"),
]


@pytest.mark.parametrize(
    "observed", [[], HISTORY, HISTORY[:3], HISTORY[3:], [HISTORY[0], (2.0, "cancelled", "Cancelled")]]
)
def test_a_history_that_only_moves_forward_has_no_findings(observed: list[Observation]) -> None:
    assert not check_observations(RUN, observed)


@pytest.mark.parametrize(
    ("observed", "fault"),
    [
        ([*HISTORY, (6.0, "failed", "PipelineError")], OutcomeFault.TERMINAL_CHANGED),
        ([*HISTORY, (6.0, "running", None)], OutcomeFault.TERMINAL_CHANGED),
        ([*HISTORY, (6.0, "completed", "TimedOut")], OutcomeFault.TERMINAL_CHANGED),
        ([*HISTORY[:3], (3.5, "queued", None), *HISTORY[3:]], OutcomeFault.MOVED_BACKWARDS),
        ([*HISTORY[:3], (3.5, "resting", None), *HISTORY[3:]], OutcomeFault.UNKNOWN_STATUS),
    ],
)
def test_a_state_that_moves_back_or_changes_after_the_outcome_is_found(
    observed: list[Observation], fault: OutcomeFault
) -> None:
    (finding,) = check_observations(RUN, observed)
    assert finding.kind is fault


@given(st.lists(st.sampled_from(["queued", "running", "completed", "failed", "cancelled"]), max_size=8))
def test_only_histories_that_move_forward_have_no_findings(statuses: list[str]) -> None:
    ranks = [{"queued": 0, "running": 1}.get(status, 2) for status in statuses]
    forward = ranks == sorted(ranks) and len({status for status in statuses if status[0] in "cf"}) <= 1
    assert bool(check_observations(RUN, [(0.0, status, None) for status in statuses])) is not forward
