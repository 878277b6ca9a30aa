"""What holds for the next step in any combination of run, Job, pod and facts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.artifacts.folder import too_many_bytes
from launcher.domain.log_lines import Receipt
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run, RunStatus
from launching.decision_builders import AT, CAUSES, LIMITS, QUEUED, RUNNING, Manifest, facts, job, pod
from pipeline_operator.cluster_cache import ObservedRun
from pipeline_operator.decisions import (
    Facts,
    Finish,
    Terminate,
    Wait,
    next_step,
)

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
