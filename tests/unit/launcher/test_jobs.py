"""Reading a run from its Job, and the requirements for a run."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cluster import jobs, manifests
from launcher.domain.outcomes import cancelled_before_start
from launcher.domain.pipelines import Pipeline
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.domain.text import clean_json
from launcher.settings import SharedSettings

AT = datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)
CREATED = datetime(2026, 11, 24, 7, 0, 0, tzinfo=UTC)
RUN = Run(run_id="4711-01jd", job_id="4711", created_at=AT, updated_at=AT)
Job = dict[str, Any]
READERS: list[Callable[[Job], object]] = [
    jobs.name_of,
    jobs.names_pipeline,
    jobs.phase_of,
    jobs.suspended,
    jobs.cancel_requested,
    jobs.termination_reason,
    jobs.termination_detail,
    jobs.finished_condition,
    jobs.requirement_faults,
    jobs.record_of,
    lambda job: jobs.run_of(job, start_grace_seconds=600),
    lambda job: [job["metadata"][name] for name in ("uid", "resourceVersion")],
]
"""All that is read from a Job."""


def job_of(run: Run = RUN) -> Job:
    """The Job of a run as Kubernetes returns it."""
    job: Job = json.loads(json.dumps(manifests.make_job(run, Pipeline(), SharedSettings.from_environment({}))))
    job["metadata"] |= {"uid": "5f3c", "resourceVersion": "7", "creationTimestamp": "2026-11-24T07:00:00Z"}
    job["spec"] |= {"parallelism": 1, "completions": 1, "completionMode": "NonIndexed", "manualSelector": False}
    return job


def test_a_runs_job_meets_the_requirements() -> None:
    assert jobs.requirement_faults(job_of()) == []
    assert jobs.requirement_faults(manifests.make_job(RUN, Pipeline(), SharedSettings.from_environment({}))) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(lambda spec: spec.update(suspend=False), "spec.suspend", id="not suspended"),
        pytest.param(lambda spec: spec.pop("suspend"), "spec.suspend", id="suspend left out"),
        pytest.param(lambda spec: spec.update(backoffLimit=1), "spec.backoffLimit", id="would be retried"),
        pytest.param(lambda spec: spec.pop("backoffLimit"), "spec.backoffLimit", id="default backoffLimit"),
        pytest.param(
            lambda spec: spec.update(ttlSecondsAfterFinished=0),
            "spec.ttlSecondsAfterFinished",
            id="deleted when it finishes",
        ),
        pytest.param(
            lambda spec: spec.update(ttlSecondsAfterFinished=60),
            "spec.ttlSecondsAfterFinished",
            id="deleted soon after it finishes",
        ),
        pytest.param(lambda spec: spec.update(completions=2), "spec.completions", id="several completions"),
        pytest.param(lambda spec: spec.update(parallelism=2), "spec.completions", id="several pods at a time"),
        pytest.param(lambda spec: spec.update(parallelism=0), "spec.completions", id="no pod at all"),
        pytest.param(
            lambda spec: spec["template"]["spec"].pop("activeDeadlineSeconds"),
            "spec.template.spec.activeDeadlineSeconds",
            id="no deadline",
        ),
        pytest.param(
            lambda spec: spec["template"]["spec"].update(restartPolicy="OnFailure"),
            "spec.template.spec.restartPolicy",
            id="container would be restarted",
        ),
        pytest.param(
            lambda spec: spec["template"]["metadata"].update(labels={"app": "mine"}),
            "spec.template.metadata.labels",
            id="pod without the label",
        ),
        pytest.param(
            lambda spec: spec["template"]["metadata"].pop("labels"),
            "spec.template.metadata.labels",
            id="pod without labels",
        ),
        pytest.param(
            lambda spec: spec.update(podFailurePolicy={"rules": [{"action": "Ignore", "onExitCodes": {}}]}),
            "spec.podFailurePolicy",
            id="some failures would be ignored",
        ),
        pytest.param(
            lambda spec: spec.update(activeDeadlineSeconds=60),
            "spec.activeDeadlineSeconds",
            id="a deadline on the Job, which deletes the pod",
        ),
    ],
)
def test_an_unmet_requirement_is_named(change: Callable[[Any], Any], field: str) -> None:
    job = job_of()
    change(job["spec"])
    [fault] = jobs.requirement_faults(job)
    assert fault.startswith(field)
    assert jobs.requirement_faults(jobs.slim(job)) == [fault]


def test_all_unmet_requirements_are_named_together() -> None:
    job = job_of()
    job["spec"] = {"template": {"metadata": {}, "spec": {"containers": []}}, "ttlSecondsAfterFinished": 1}
    assert [fault.partition(" must ")[0] for fault in jobs.requirement_faults(job)] == [
        "spec.suspend",
        "spec.backoffLimit",
        "spec.ttlSecondsAfterFinished",
        "spec.template.spec.activeDeadlineSeconds",
        "spec.template.spec.restartPolicy",
        "spec.template.metadata.labels",
    ]


@pytest.mark.parametrize("name", ["nightly.backup", "a.b-01jd"])
def test_a_name_must_be_a_valid_run_id(name: str) -> None:
    job = job_of()
    job["metadata"]["name"] = name
    assert jobs.requirement_faults(job) == ["metadata.name must consist of lower-case letters, digits and hyphens"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
runs = st.builds(
    lambda at, **fields: Run(run_id="any-01jd", created_at=at, updated_at=at, **fields),
    at=st.datetimes(timezones=st.just(UTC)),
    job_id=st.text(min_size=1),
    profile_ref=st.none() | st.text(min_size=1),
    pipeline=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True),
    params=st.dictionaries(st.text(), values, max_size=4).map(clean_json),  # as in every request
    priority=st.integers(-1000, 1000),
    timeout_seconds=st.integers(1, 86400),
    idempotency_hash=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    request_hash=st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64),
)


@given(runs)
def test_a_run_is_read_from_its_job_unchanged(run: Run) -> None:
    assert jobs.run_of(job_of(run), start_grace_seconds=600) == run


@given(runs)
def test_a_cancellation_request_is_read_from_the_job(run: Run) -> None:
    job = job_of(run)
    job["metadata"]["annotations"] |= manifests.cancel_patch(AT)["metadata"]["annotations"]
    found = jobs.run_of(job, start_grace_seconds=600)
    assert found.cancel_requested
    assert jobs.cancel_requested(job)


@given(runs, st.sampled_from([None, "Complete", "Failed", "Suspended"]), st.booleans(), st.booleans())
def test_a_slim_job_reads_like_the_whole_one(run: Run, condition: str | None, recorded: bool, stopped: bool) -> None:
    job = job_of(run)
    job["metadata"]["managedFields"] = [{"manager": "slipway"}]
    if recorded:
        final = run.finished(cancelled_before_start(), AT, run.log)
        job["metadata"]["labels"] |= manifests.record_patch(job, final, 60)["metadata"]["labels"]
        job["metadata"]["annotations"] |= manifests.record_patch(job, final, 60)["metadata"]["annotations"]
    if stopped:
        patch = manifests.termination_patch(Reason.IMAGE_PULL, "not found", suspend=False)
        job["metadata"]["annotations"] |= patch["metadata"]["annotations"]
    if condition:
        job["status"] = {"conditions": [{"type": condition, "status": "True"}]}
    slim = jobs.slim(job)
    for read in READERS:
        assert read(slim) == read(job)
    assert "managedFields" not in slim["metadata"]
    assert "containers" not in slim["spec"]["template"]["spec"]


def test_only_a_run_with_an_idempotency_key_has_its_label() -> None:
    assert job_of()["metadata"]["labels"] == {"slipway.dev/run": "true", "slipway.dev/phase": "queued"}
    labelled = job_of(replace(RUN, idempotency_hash="0123456789abcdef" * 4))["metadata"]["labels"]
    assert labelled["slipway.dev/idempotency"] == ("0123456789abcdef" * 4)[:63]  # the maximum length of a label value


def test_a_run_is_read_from_the_record_on_its_job() -> None:
    from_job = job_of()
    from_job["metadata"]["uid"] = "5f3c"
    final = RUN.finished(cancelled_before_start(), AT, RUN.log)
    patch = manifests.record_patch(from_job, final, 60)
    from_job["metadata"]["labels"] |= patch["metadata"]["labels"]
    from_job["metadata"]["annotations"] |= patch["metadata"]["annotations"]
    assert jobs.phase_of(from_job) == "recorded"
    assert jobs.record_of(from_job) == final
    assert jobs.run_of(from_job, start_grace_seconds=600) == final


@pytest.mark.parametrize("phase", ["released", "recorded"])
def test_a_copy_of_a_released_or_recorded_job_starts_as_queued(phase: str) -> None:
    original = job_of()
    original["metadata"]["uid"] = "5f3c"
    final = RUN.finished(cancelled_before_start(), AT, RUN.log)
    patches = {"released": manifests.release_patch(original), "recorded": manifests.record_patch(original, final, 60)}
    original["metadata"]["labels"] |= patches[phase]["metadata"]["labels"]
    original["metadata"]["annotations"] |= patches[phase]["metadata"]["annotations"]
    assert jobs.phase_of(original) == phase
    copy = {**original, "metadata": {**original["metadata"], "name": "copy", "uid": "other"}}
    assert jobs.phase_of(copy) == "queued"
    assert jobs.record_of(copy) is None
    assert jobs.run_of(copy, start_grace_seconds=600).run_id == "copy"


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"run_id": "a"}', RUN.to_json().decode()[:-2]])
def test_an_unreadable_record_is_ignored(record: str | None) -> None:
    job = job_of()
    job["metadata"]["uid"] = "5f3c"
    job["metadata"]["labels"]["slipway.dev/phase"] = "recorded"
    job["metadata"]["annotations"]["slipway.dev/phase-of"] = "5f3c"
    if record is not None:
        job["metadata"]["annotations"]["slipway.dev/record"] = record
    assert jobs.record_of(job) is None
    assert jobs.run_of(job, start_grace_seconds=600) == RUN


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="empty"),
        pytest.param(
            {
                "slipway.dev/params": "{",
                "slipway.dev/priority": "high",
                "slipway.dev/queued-at": "yesterday",
                "slipway.dev/timeout-seconds": "long",
            },
            id="words instead of values",
        ),
        pytest.param(
            {
                "slipway.dev/job-id": "",
                "slipway.dev/pipeline": "",
                "slipway.dev/params": "",
                "slipway.dev/priority": "",
                "slipway.dev/queued-at": "",
                "slipway.dev/timeout-seconds": "",
                "slipway.dev/record": "",
            },
            id="empty values",
        ),
        pytest.param(
            {
                "slipway.dev/params": "[1, 2]",
                "slipway.dev/priority": "1.5",
                "slipway.dev/queued-at": "2026-11-24T06:00:00",
                "slipway.dev/timeout-seconds": "10m",
            },
            id="almost valid",
        ),
    ],
)
def test_missing_and_invalid_annotations_get_defaults(annotations: dict[str, str] | None) -> None:
    job = job_of()
    job["metadata"]["name"] = "nightly-28934"
    job["spec"]["template"]["spec"]["activeDeadlineSeconds"] = 900
    if annotations is None:
        del job["metadata"]["annotations"]
    else:
        job["metadata"]["annotations"] = annotations
    assert jobs.run_of(job, start_grace_seconds=600) == Run(
        run_id="nightly-28934",
        job_id="nightly-28934",
        timeout_seconds=300,
        created_at=CREATED,
        updated_at=CREATED,
    )


@pytest.mark.parametrize(("deadline", "timeout"), [(900, 300), (600, 1), (5, 1), (None, 1)])
def test_the_default_timeout_is_the_deadline_without_the_grace_period(deadline: int | None, timeout: int) -> None:
    job = job_of()
    del job["metadata"]["annotations"]["slipway.dev/timeout-seconds"]
    if deadline is None:
        del job["spec"]["template"]["spec"]["activeDeadlineSeconds"]
    else:
        job["spec"]["template"]["spec"]["activeDeadlineSeconds"] = deadline
    assert jobs.run_of(job, start_grace_seconds=600).timeout_seconds == timeout


@pytest.mark.parametrize("annotated", [True, False])
def test_no_timeout_is_longer_than_a_year(annotated: bool) -> None:
    job = job_of()
    del job["metadata"]["annotations"]["slipway.dev/timeout-seconds"]
    if annotated:
        job["metadata"]["annotations"]["slipway.dev/timeout-seconds"] = str(10**30)
    else:
        job["spec"]["template"]["spec"]["activeDeadlineSeconds"] = 10**9
    assert jobs.run_of(job, start_grace_seconds=600).timeout_seconds == 366 * 86400


def test_a_handmade_job_starts_as_queued() -> None:
    assert jobs.phase_of({"metadata": {"name": "a"}}) == "queued"
    assert jobs.phase_of({"metadata": {"name": "a", "labels": {"slipway.dev/run": ""}}}) == "queued"
    assert jobs.phase_of({"metadata": {"name": "a", "uid": "b", "labels": {"slipway.dev/phase": "x"}}}) == "queued"


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({}, None),
        ({"slipway.dev/cancel": "2026-11-24T08:00:00+00:00"}, Reason.CANCELLED),
        ({"slipway.dev/end-for": "ImagePull"}, Reason.IMAGE_PULL),
        ({"slipway.dev/end-for": "BadMood"}, None),
        ({"slipway.dev/cancel": "now", "slipway.dev/end-for": "TimedOut"}, Reason.CANCELLED),
    ],
)
def test_a_job_stores_the_termination_reason(annotations: dict[str, str], reason: Reason | None) -> None:
    assert jobs.termination_reason({"metadata": {"name": "a", "annotations": annotations}}) is reason


def test_a_job_stores_the_termination_detail() -> None:
    job = job_of()
    assert jobs.termination_detail(job) == ""
    patch = manifests.termination_patch(Reason.IMAGE_PULL, "not found", suspend=False)
    job["metadata"]["annotations"] |= patch["metadata"]["annotations"]
    assert jobs.termination_detail(job) == "not found"
    assert jobs.termination_reason(job) is Reason.IMAGE_PULL


@pytest.mark.parametrize(
    ("conditions", "finished"),
    [
        (None, None),
        ([], None),
        ([{"type": "Suspended", "status": "True", "reason": "JobSuspended"}], None),
        ([{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}], None),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], None),
        ([{"type": "Complete", "status": "False"}], None),
        ([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}], "Complete"),
        ([{"type": "Suspended", "status": "False"}, {"type": "Failed", "status": "True"}], "Failed"),
    ],
)
def test_only_complete_and_failed_conditions_finish_a_job(
    conditions: list[dict[str, str]] | None, finished: str | None
) -> None:
    job = copy.deepcopy(job_of())
    assert jobs.finished_condition(job) is None
    job["status"] = {} if conditions is None else {"conditions": conditions}
    assert jobs.finished_condition(job) == finished
