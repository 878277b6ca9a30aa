"""The next step for a run, for every state that its Job and pod can have."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.artifacts.folder import too_many_bytes
from launcher.cluster import manifests
from launcher.cluster.pods import CREATING, NO_NODE
from launcher.domain.log_lines import Receipt
from launcher.domain.pipelines import Pipeline
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run, RunStatus
from launcher.settings import SharedSettings
from pipeline_operator.cluster_cache import ObservedRun
from pipeline_operator.decisions import (
    SUSPENDED_BY_HAND,
    WAITING_FOR_POD,
    Facts,
    Finish,
    Limits,
    RefreshPods,
    Step,
    Terminate,
    Wait,
    next_step,
)

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
QUEUED = Run(run_id="4711-01jd", job_id="4711", timeout_seconds=60, created_at=AT, updated_at=AT)
RUNNING = QUEUED.started(AT)
LIMITS = Limits(
    grace_seconds={Reason.IMAGE_PULL: 120, Reason.UNSCHEDULABLE: 300, Reason.CANNOT_START: 30},
    start_seconds=600,
)
Manifest = dict[str, Any]


def job(
    phase: str = "released",
    *,
    suspended: bool | None = None,
    cancelled: bool = False,
    end_for: str | None = None,
    end_detail: str | None = None,
    finished: str | None = None,
    faulty: bool = False,
) -> Manifest:
    made: Manifest = json.loads(json.dumps(manifests.make_job(QUEUED, Pipeline(), SharedSettings.from_environment({}))))
    made["metadata"] |= {"uid": "job", "resourceVersion": "7"}
    made["metadata"]["labels"]["slipway.dev/phase"] = phase
    made["metadata"]["annotations"]["slipway.dev/phase-of"] = "job"
    made["spec"]["suspend"] = phase == "queued" if suspended is None else suspended
    if cancelled:
        made["metadata"]["annotations"]["slipway.dev/cancel"] = AT.isoformat()
    if end_for:
        made["metadata"]["annotations"]["slipway.dev/end-for"] = end_for
    if end_detail:
        made["metadata"]["annotations"]["slipway.dev/end-detail"] = end_detail
    if finished:
        made["status"] = {"conditions": [{"type": finished, "status": "True"}]}
    if faulty:
        made["spec"]["backoffLimit"] = 6
    return made


def pod(kind: str, *, deleting: bool = False) -> Manifest:
    states: dict[str, Any] = {
        "running": {"running": {"startedAt": "2026-11-24T08:00:00Z"}},
        "succeeded": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-11-24T08:00:00Z"}},
        "failed": {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": "2026-11-24T08:00:00Z"}},
        "timed out": {"terminated": {"exitCode": 143, "reason": "Error", "startedAt": "2026-11-24T08:00:00Z"}},
        "creating": {"waiting": {"reason": "ContainerCreating"}},
        "pulling": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}},
        "misnamed": {"waiting": {"reason": "InvalidImageName"}},
        "refused": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}},
    }
    state = states.get(kind, {})
    phase = {"running": "Running", "succeeded": "Succeeded", "failed": "Failed", "timed out": "Failed"}.get(
        kind, "Pending"
    )
    status: dict[str, Any] = {"phase": phase, "containerStatuses": [{"name": "pipeline", "state": state}]}
    if kind == "timed out":
        status["reason"] = "DeadlineExceeded"
    if kind == "unschedulable":
        status["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    spec: dict[str, Any] = {"containers": [{"name": "pipeline", "image": "image"}]}
    if kind not in ("unscheduled", "unschedulable"):
        spec["nodeName"] = "node"
    metadata: dict[str, Any] = {"name": "4711-01jd-x7k2p", "uid": "pod", "resourceVersion": "9"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-24T08:00:30Z"
    return {"metadata": metadata, "spec": spec, "status": status}


def facts(after: float = 0, *, lasting: float = 0, **known: Any) -> Facts:
    moment = AT + timedelta(seconds=after)
    return Facts(**{"pods_listed": True, **known}, now=moment, cause_since=moment - timedelta(seconds=lasting))


CAUSES = {
    "no pod": None,
    "Unschedulable": pod("unschedulable"),
    "ImagePull": pod("pulling"),
    "InvalidImage": pod("misnamed"),
    "CannotStart": pod("refused"),
    "CannotStart slow": pod("creating"),
}
"""Each cause of waiting by its name, with a pod that shows it."""
GRACES = {"no pod": 30, "Unschedulable": 300, "ImagePull": 120, "CannotStart": 30, "CannotStart slow": 600}
"""How long each may last, in seconds. A cause that is not listed has no grace period."""


def summary(step: Step) -> str:
    """A step in a word or two."""
    match step:
        case Wait():
            return "wait"
        case Terminate(reason=reason):
            return f"terminate: {reason}"
        case Finish(outcome=outcome):
            return f"finish: {outcome.status}, {outcome.reason}"


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


@pytest.mark.parametrize(
    ("run", "of_pod", "known", "expected"),
    [
        pytest.param(RUNNING, pod("running"), facts(59), "wait", id="within its timeout"),
        pytest.param(RUNNING, pod("running"), facts(60), "terminate: TimedOut", id="past its timeout"),
        pytest.param(QUEUED, pod("running"), facts(600), "wait", id="start not observed yet"),
        pytest.param(
            RUNNING, pod("running"), facts(excess="Much."), "terminate: ArtifactsTooLarge", id="too many artifacts"
        ),
        pytest.param(
            RUNNING, pod("running"), facts(termination_reason=Reason.TIMED_OUT), "terminate: TimedOut", id="terminating"
        ),
        *(
            param
            for cause, reason in [
                ("ImagePull", "ImagePull"),
                ("Unschedulable", "Unschedulable"),
                ("no pod", "CannotStart"),
                ("CannotStart", "CannotStart"),
                ("CannotStart slow", "CannotStart"),
            ]
            for param in (
                pytest.param(
                    QUEUED,
                    CAUSES[cause],
                    facts(cause=cause, lasting=GRACES[cause] - 1),
                    "wait",
                    id=f"{cause}, within its grace period",
                ),
                pytest.param(
                    QUEUED,
                    CAUSES[cause],
                    facts(cause=cause, lasting=GRACES[cause]),
                    f"terminate: {reason}",
                    id=f"{cause}, past its grace period",
                ),
            )
        ),
        pytest.param(
            QUEUED,
            pod("unscheduled"),
            facts(cause="Unschedulable", lasting=300),
            "terminate: Unschedulable",
            id="no node",
        ),
        pytest.param(
            QUEUED, pod("misnamed"), facts(), "terminate: InvalidImage", id="an invalid name has no grace period"
        ),
    ],
)
def test_a_run_is_terminated_after_its_grace_period(
    run: Run, of_pod: Manifest | None, known: Facts, expected: str
) -> None:
    assert summary(next_step(run, ObservedRun(job=job(), pod=of_pod), known, LIMITS)) == expected


@pytest.mark.parametrize(
    ("run", "of_pod", "known", "seconds"),
    [
        (RUNNING, pod("running"), facts(45), 15),
        (QUEUED, pod("pulling"), facts(cause="ImagePull", lasting=100), 20),
        (QUEUED, None, facts(cause="no pod", lasting=10), 20),
        (QUEUED, None, facts(cause="no pod", lasting=1), 29),
        (QUEUED, pod("creating"), facts(), 600),
        (QUEUED, pod("creating"), facts(cause="CannotStart slow", lasting=599), 1),
        (QUEUED, pod("running"), facts(), None),
    ],
)
def test_a_wait_ends_with_its_grace_period(
    run: Run, of_pod: Manifest | None, known: Facts, seconds: float | None
) -> None:
    step = next_step(run, ObservedRun(job=job(), pod=of_pod), known, LIMITS)
    assert isinstance(step, Wait)
    assert step.seconds == seconds


@pytest.mark.parametrize("before", [None, *CAUSES])
@pytest.mark.parametrize("cause", GRACES)
def test_a_new_cause_starts_a_new_grace_period(cause: str, before: str | None) -> None:
    step = next_step(QUEUED, ObservedRun(job=job(), pod=CAUSES[cause]), facts(cause=before, lasting=3600), LIMITS)
    if before == cause:
        assert isinstance(step, Terminate)
    else:
        assert step == Wait(seconds=GRACES[cause], waiting_for=waiting_message(cause), cause=cause)


def waiting_message(cause: str) -> str | None:
    """The message of a run that has just started to wait for this cause."""
    step = next_step(QUEUED, ObservedRun(job=job(), pod=CAUSES[cause]), facts(), LIMITS)
    assert isinstance(step, Wait)
    return step.waiting_for


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("no pod", WAITING_FOR_POD),
        ("Unschedulable", f"{NO_NODE}: Unschedulable"),
        ("ImagePull", "The image image cannot be pulled: Back-off"),
        ("CannotStart", 'The container cannot be created: CreateContainerConfigError: secret "keys" not found'),
        ("CannotStart slow", CREATING),
    ],
)
def test_the_cause_is_reported_while_waiting_and_at_termination(cause: str, words: str) -> None:
    assert waiting_message(cause) == words
    step = next_step(QUEUED, ObservedRun(job=job(), pod=CAUSES[cause]), facts(cause=cause, lasting=3600), LIMITS)
    assert isinstance(step, Terminate)
    assert step.detail == words


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


UNFINISHED = ["unscheduled", "unschedulable", "creating", "pulling", "misnamed", "refused", "running"]
FINISHED = ["succeeded", "failed", "timed out"]
some_pods = st.none() | st.builds(pod, st.sampled_from([*UNFINISHED, *FINISHED]), deleting=st.booleans())


def some_jobs(*phases: str) -> st.SearchStrategy[Manifest]:
    return st.builds(
        job,
        st.sampled_from(phases),
        suspended=st.none() | st.booleans(),
        cancelled=st.booleans(),
        end_for=st.sampled_from([None, "TimedOut", "Rejected", "ImagePull", "Nonsense"]),
        finished=st.sampled_from([None, "Complete", "Failed"]),
        faulty=st.booleans(),
    )


any_job = st.none() | some_jobs("queued", "released", "recorded", "unknown")
some_observed = st.builds(ObservedRun, job=any_job, job_deleted=st.booleans(), pod=some_pods, pod_deleted=st.booleans())
unfinished = st.builds(pod, st.sampled_from(UNFINISHED), deleting=st.booleans())
with_a_pod_that_may_run = st.builds(ObservedRun, job=any_job, job_deleted=st.booleans(), pod=unfinished)
with_a_pod_being_deleted = st.builds(
    ObservedRun,
    job=any_job,
    job_deleted=st.booleans(),
    pod=st.builds(pod, st.sampled_from([*UNFINISHED, *FINISHED]), deleting=st.just(True)),
    pod_deleted=st.booleans(),
)
some_facts = st.builds(
    facts,
    st.sampled_from([0.0, 59.0, 61.0, 1e6]),
    cause=st.sampled_from([None, *CAUSES]),
    lasting=st.sampled_from([0.0, 10.0, 1e6]),
    excess=st.sampled_from(["", too_many_bytes(1024)]),
    termination_reason=st.sampled_from([None, *Reason]),
)
some_runs = st.sampled_from([QUEUED, RUNNING, QUEUED.cancelling(AT), RUNNING.cancelling(AT)])


@given(some_runs, some_observed, some_facts)
def test_every_combination_has_a_next_step_and_every_outcome_is_final(
    run: Run, observed: ObservedRun, known: Facts
) -> None:
    step = next_step(run, observed, known, LIMITS)
    assert isinstance(step, Wait | Terminate | Finish)
    if isinstance(step, Finish):
        assert step.outcome.status.terminal
        assert step.outcome.message
    if isinstance(step, Wait):
        assert step.seconds is None or step.seconds > 0


@given(some_runs, with_a_pod_that_may_run, some_facts)
def test_no_run_finishes_while_its_pod_can_still_run(run: Run, observed: ObservedRun, known: Facts) -> None:
    assert not isinstance(next_step(run, observed, known, LIMITS), Finish)


@given(some_runs, with_a_pod_being_deleted, some_facts)
def test_no_run_completes_if_its_pod_was_being_deleted(run: Run, observed: ObservedRun, known: Facts) -> None:
    step = next_step(run, observed, known, LIMITS)
    assert not (isinstance(step, Finish) and step.outcome.status is RunStatus.COMPLETED)


@given(some_runs, some_observed, some_facts)
def test_a_run_is_cancelled_only_on_request(run: Run, observed: ObservedRun, known: Facts) -> None:
    step = next_step(run, observed, known, LIMITS)
    cancelled = observed.job is not None and "slipway.dev/cancel" in observed.job["metadata"]["annotations"]
    if isinstance(step, Finish) and step.outcome.status is RunStatus.CANCELLED:
        assert cancelled or run.cancel_requested or known.termination_reason is Reason.CANCELLED


@given(some_runs, some_observed, some_facts)
def test_every_outcome_can_be_recorded(run: Run, observed: ObservedRun, known: Facts) -> None:
    step = next_step(run, observed, known, LIMITS)
    if isinstance(step, Finish):
        if step.outcome.status is RunStatus.COMPLETED and run.status is RunStatus.QUEUED:
            run = run.started(AT)  # its start was not observed: the reconciler records one first
        finished = run.finished(step.outcome, AT, Receipt(complete=True))
        assert Run.from_json(finished.to_json()) == finished


@pytest.mark.parametrize("cause", CAUSES)
def test_a_grace_period_starts_over_after_an_outage_of_the_api_server(cause: str) -> None:
    grace = GRACES.get(cause, 0)
    observed = ObservedRun(job=job(), pod=CAUSES[cause])
    if grace == 0:  # it has no grace period
        return
    waited = Facts(now=AT, cause=cause, cause_since=AT - timedelta(seconds=10 * grace))
    assert isinstance(next_step(QUEUED, observed, waited, LIMITS), Terminate)
    outage = replace(waited, unavailable_at=AT - timedelta(seconds=5))
    step = next_step(QUEUED, observed, outage, LIMITS)
    assert isinstance(step, Wait) and step.seconds == grace + 15  # 20 s for leader election
    later = replace(outage, now=AT + timedelta(seconds=grace + 15))
    assert isinstance(next_step(QUEUED, observed, later, LIMITS), Terminate)


def test_a_run_without_a_pod_in_the_cache_does_not_finish_before_its_pods_were_listed() -> None:
    finished = ObservedRun(job=job(finished="Failed"))
    assert next_step(RUNNING, finished, facts(pods_listed=False), LIMITS) == RefreshPods()
    assert isinstance(next_step(RUNNING, finished, facts(), LIMITS), Finish)
