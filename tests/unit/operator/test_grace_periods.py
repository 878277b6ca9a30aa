"""Grace periods: how long a run may wait for each cause, and what is reported meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from launcher.cluster.pods import CREATING, NO_NODE
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launching.decision_builders import AT, CAUSES, GRACES, LIMITS, QUEUED, RUNNING, Manifest, facts, job, pod, summary
from pipeline_operator.cluster_cache import ObservedRun
from pipeline_operator.decisions import (
    WAITING_FOR_POD,
    Facts,
    Terminate,
    Wait,
    next_step,
)


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
