"""The next step for a run, for every state that its Job and pod can have."""

from __future__ import annotations

import pytest

from launcher.domain.reasons import Reason
from launching.decision_builders import AT, LIMITS, QUEUED, RUNNING, Manifest, facts, job, pod, summary
from pipeline_operator.cluster_cache import ObservedRun
from pipeline_operator.decisions import (
    SUSPENDED_BY_HAND,
    Finish,
    RefreshPods,
    Terminate,
    Wait,
    next_step,
)


@pytest.mark.parametrize(
    ("of_job", "of_pod", "expected"),
    [
        pytest.param(job("queued"), None, "wait", id="queued"),
        pytest.param(job("queued", cancelled=True), None, "finish: cancelled, Cancelled", id="cancelled while queued"),
        pytest.param(
            job("queued", cancelled=True), pod("running"), "wait", id="cancelled while queued, with a running pod"
        ),
        pytest.param(
            job("queued", cancelled=True),
            pod("failed"),
            "finish: cancelled, Cancelled",
            id="cancelled while queued, its pod has finished",
        ),
        pytest.param(job("queued", faulty=True), None, "finish: failed, Rejected", id="requirements not met"),
        pytest.param(
            job("queued", faulty=True, cancelled=True),
            None,
            "finish: failed, Rejected",
            id="requirements not met, cancelled",
        ),
        pytest.param(job("queued", suspended=False), None, "terminate: Rejected", id="not suspended"),
        pytest.param(
            job("queued", suspended=False), pod("running"), "terminate: Rejected", id="not suspended, running"
        ),
        pytest.param(
            job("queued", end_for="Rejected"),
            pod("running"),
            "terminate: Rejected",
            id="rejected, its pod still running",
        ),
        pytest.param(
            job("queued", end_for="Rejected"),
            pod("running", deleting=True),
            "terminate: Rejected",
            id="rejected, its pod terminating",
        ),
        pytest.param(
            job("queued", end_for="Rejected"), pod("failed"), "finish: failed, Rejected", id="rejected, pod finished"
        ),
        pytest.param(job("queued", end_for="Rejected"), None, "finish: failed, Rejected", id="rejected, no pod"),
        pytest.param(
            job("queued", suspended=False, finished="Complete"),
            pod("succeeded"),
            "finish: failed, Rejected",
            id="not suspended, finished before it was observed",
        ),
        pytest.param(job(), None, "wait", id="released"),
        pytest.param(job(suspended=True), None, "wait", id="suspended by hand after its release"),
        pytest.param(
            job(suspended=True, cancelled=True),
            None,
            "finish: cancelled, Cancelled",
            id="cancelled before its pod, which will not be created",
        ),
        pytest.param(
            job(suspended=True, end_for="CannotStart"),
            None,
            "finish: failed, CannotStart",
            id="given up before its pod, which will not be created",
        ),
        pytest.param(job(suspended=True), pod("running"), "wait", id="suspended by hand, its pod still running"),
        pytest.param(job(cancelled=True), None, "terminate: Cancelled", id="cancelled before its pod"),
        pytest.param(job(end_for="CannotStart"), None, "terminate: CannotStart", id="given up before its pod"),
        pytest.param(job(finished="Complete"), None, "finish: completed, Completed", id="completed, pod deleted"),
        pytest.param(job(finished="Failed"), None, "finish: failed, Deleted", id="failed, pod deleted"),
        pytest.param(
            job(cancelled=True, finished="Failed"), None, "finish: cancelled, Cancelled", id="cancelled, pod deleted"
        ),
        pytest.param(
            job(end_for="CannotStart", finished="Failed"), None, "finish: failed, CannotStart", id="given up, no pod"
        ),
        pytest.param(job(), pod("unscheduled"), "wait", id="pod without a node"),
        pytest.param(job(), pod("unschedulable"), "wait", id="unschedulable"),
        pytest.param(job(), pod("creating"), "wait", id="container being created"),
        pytest.param(job(), pod("pulling"), "wait", id="image not pulled yet"),
        pytest.param(job(), pod("misnamed"), "terminate: InvalidImage", id="invalid image name"),
        pytest.param(job(), pod("running"), "wait", id="running"),
        pytest.param(job(), pod("succeeded"), "finish: completed, Completed", id="completed"),
        pytest.param(
            job(finished="Complete"), pod("succeeded"), "finish: completed, Completed", id="completed, Job complete"
        ),
        pytest.param(job(), pod("failed"), "finish: failed, PipelineError", id="failed"),
        pytest.param(job(), pod("timed out"), "finish: failed, TimedOut", id="terminated by its deadline"),
        pytest.param(job(cancelled=True), pod("unscheduled"), "terminate: Cancelled", id="cancelled without a node"),
        pytest.param(job(cancelled=True), pod("creating"), "terminate: Cancelled", id="cancelled before its container"),
        pytest.param(job(cancelled=True), pod("running"), "terminate: Cancelled", id="cancelled while running"),
        pytest.param(job(cancelled=True), pod("running", deleting=True), "wait", id="cancelled and terminating"),
        pytest.param(
            job(cancelled=True), pod("timed out"), "finish: cancelled, Cancelled", id="cancelled and finished"
        ),
        pytest.param(job(cancelled=True), pod("succeeded"), "finish: completed, Completed", id="cancelled too late"),
        pytest.param(
            job(end_for="TimedOut"), pod("running"), "terminate: TimedOut", id="to be terminated, after a restart"
        ),
        pytest.param(
            job(end_for="ArtifactsTooLarge"), pod("timed out"), "finish: failed, ArtifactsTooLarge", id="terminated"
        ),
        pytest.param(
            job(end_for="ImagePull"), pod("timed out"), "finish: failed, ImagePull", id="terminated while pulling"
        ),
        pytest.param(job(), pod("running", deleting=True), "wait", id="pod being deleted"),
        pytest.param(job(), pod("succeeded", deleting=True), "finish: failed, Deleted", id="deleted, exit 0"),
        pytest.param(job(), pod("failed", deleting=True), "finish: failed, Deleted", id="deleted while running"),
    ],
)
def test_the_next_step_for_an_existing_job(of_job: Manifest, of_pod: Manifest | None, expected: str) -> None:
    assert summary(next_step(RUNNING, ObservedRun(job=of_job, pod=of_pod), facts(), LIMITS)) == expected


@pytest.mark.parametrize(
    ("of_job", "of_pod", "pod_deleted", "expected"),
    [
        pytest.param(job("queued"), None, False, "finish: failed, Deleted", id="deleted while queued"),
        pytest.param(job(), None, False, "finish: failed, Deleted", id="deleted before its pod"),
        pytest.param(None, None, False, "finish: failed, Deleted", id="nothing left after a restart"),
        pytest.param(job(cancelled=True), None, False, "finish: cancelled, Cancelled", id="cancelled, then deleted"),
        pytest.param(job(end_for="CannotStart"), None, False, "finish: failed, CannotStart", id="given up"),
        pytest.param(job(), pod("running"), False, "terminate: Deleted", id="Job deleted, pod left behind"),
        pytest.param(job(), pod("running", deleting=True), False, "wait", id="Job deleted, pod terminating"),
        pytest.param(job(), pod("running"), True, "finish: failed, Deleted", id="both deleted"),
        pytest.param(
            job(cancelled=True), pod("running"), True, "finish: cancelled, Cancelled", id="both deleted, cancelled"
        ),
        pytest.param(
            job(), pod("succeeded"), True, "finish: completed, Completed", id="both deleted, completed before"
        ),
        pytest.param(
            job(finished="Complete"),
            pod("succeeded"),
            True,
            "finish: completed, Completed",
            id="Job complete, both deleted",
        ),
    ],
)
def test_the_next_step_for_a_deleted_job(
    of_job: Manifest | None, of_pod: Manifest | None, pod_deleted: bool, expected: str
) -> None:
    observed = ObservedRun(job=of_job, job_deleted=of_job is not None, pod=of_pod, pod_deleted=pod_deleted)
    assert summary(next_step(RUNNING, observed, facts(), LIMITS)) == expected


def test_a_job_suspended_by_hand_waits_without_limit_and_says_what_to_do() -> None:
    step = next_step(QUEUED, ObservedRun(job=job(suspended=True)), facts(cause="no pod", lasting=3600), LIMITS)
    assert step == Wait(waiting_for=SUSPENDED_BY_HAND)


@pytest.mark.parametrize("of_pod", [None, pod("pulling"), pod("unscheduled"), pod("running")])
def test_the_detail_is_kept_during_termination(of_pod: Manifest | None) -> None:
    ending = facts(termination_reason=Reason.IMAGE_PULL, detail="a:1 was not found")
    for of_job in (job(), job(end_for="ImagePull")):
        step = next_step(QUEUED, ObservedRun(job=of_job, pod=of_pod), ending, LIMITS)
        assert step == Terminate(reason=Reason.IMAGE_PULL, detail="a:1 was not found")


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(ObservedRun(job=job(end_for="ImagePull"), pod=pod("timed out")), id="terminated by its deadline"),
        pytest.param(ObservedRun(job=job(end_for="ImagePull"), pod=pod("pulling"), pod_deleted=True), id="pod deleted"),
        pytest.param(ObservedRun(job=job(end_for="ImagePull", suspended=True)), id="no pod will be created"),
        pytest.param(ObservedRun(job=job(end_for="ImagePull", finished="Failed")), id="its Job failed"),
        pytest.param(ObservedRun(job=job(end_for="ImagePull"), job_deleted=True), id="its Job deleted"),
    ],
)
def test_the_detail_is_in_the_outcome_of_a_terminated_run(observed: ObservedRun) -> None:
    step = next_step(QUEUED, observed, facts(termination_reason=Reason.IMAGE_PULL, detail="a:1 was not found"), LIMITS)
    assert isinstance(step, Finish)
    assert step.outcome.reason is Reason.IMAGE_PULL
    assert step.outcome.message.endswith(" a:1 was not found")


def test_a_cancellation_known_only_to_the_record_is_kept() -> None:
    run = RUNNING.cancelling(AT)
    assert (
        summary(next_step(run, ObservedRun(job=job(), pod=pod("running")), facts(), LIMITS)) == "terminate: Cancelled"
    )
    assert summary(next_step(run, ObservedRun(), facts(), LIMITS)) == "finish: cancelled, Cancelled"


def test_a_rejected_job_names_the_requirements_it_does_not_meet() -> None:
    step = next_step(QUEUED, ObservedRun(job=job("queued", faulty=True)), facts(), LIMITS)
    assert isinstance(step, Finish)
    assert "spec.backoffLimit must be 0" in step.outcome.message


def test_a_rejected_job_names_the_faults_it_had_before_it_was_suspended() -> None:
    rejected = job("queued", end_for="Rejected", end_detail="spec.suspend must be true: ….")
    step = next_step(QUEUED, ObservedRun(job=rejected), facts(), LIMITS)
    assert isinstance(step, Finish)
    assert step.outcome.message.endswith(" spec.suspend must be true: ….")


def test_a_run_without_a_pod_in_the_cache_does_not_finish_before_its_pods_were_listed() -> None:
    finished = ObservedRun(job=job(finished="Failed"))
    assert next_step(RUNNING, finished, facts(pods_listed=False), LIMITS) == RefreshPods()
    assert isinstance(next_step(RUNNING, finished, facts(), LIMITS), Finish)
