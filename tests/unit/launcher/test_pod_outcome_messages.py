"""The message of a run's outcome on Kubernetes."""

from __future__ import annotations

import pytest

from launcher.cluster import pods
from launcher.domain.outcomes import DEADLINE_BEFORE_START
from launcher.domain.reasons import Reason, sentence
from launching.pod_builders import DEADLINE_EXCEEDED, EVICTED, NOT_FOUND, Pod, disruption, pod, terminated


@pytest.mark.parametrize(
    ("observed", "stop_reason", "words"),
    [
        (pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)), None, ["600 s", "timeout_seconds"]),
        (pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)), Reason.TIMED_OUT, ["600 s"]),
        (
            pod("Failed", **DEADLINE_EXCEEDED, **terminated(143)),
            Reason.ARTIFACTS_TOO_LARGE,
            ["artifacts", "the detail"],
        ),
        (
            pod("Failed", **DEADLINE_EXCEEDED),
            None,
            [sentence(Reason.CANNOT_START), DEADLINE_BEFORE_START],
        ),
        (pod("Failed", **DEADLINE_EXCEEDED), Reason.IMAGE_PULL, ["IMAGE_PULL_SECRETS", "the detail"]),
        (pod("Failed", **terminated(137)), None, ["SIGKILL", "out of memory"]),
        (pod("Failed", **terminated(139)), None, ["SIGSEGV"]),
        (pod("Failed", **terminated(3)), None, ["exit code 3"]),
        (pod("Failed", **EVICTED, **terminated(137)), None, ["low on resource: memory"]),
        (
            pod(
                "Failed",
                deleting=True,
                **terminated(143),
                **disruption("EvictionByEvictionAPI", "Eviction API: evicting"),
            ),
            None,
            ["Eviction API: evicting"],
        ),
        (pod("Failed", **terminated(128, "StartError", NOT_FOUND)), None, [NOT_FOUND]),
        (pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource"), None, ["OutOfcpu", "enough"]),
    ],
)
def test_the_outcomes_message_says_what_happened_and_what_to_do(
    observed: Pod, stop_reason: Reason | None, words: list[str]
) -> None:
    outcome = pods.outcome_of(observed, stop_reason=stop_reason, timeout=600, detail="the detail")
    for each in words:
        assert each in outcome.message


def test_an_out_of_memory_outcome_names_the_limit() -> None:
    observed = pod("Failed", **terminated(137, "OOMKilled"))
    assert pods.outcome_of(observed, stop_reason=None, timeout=600).message.startswith(
        "The pipeline exceeded its memory limit "
    )
    observed["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    assert "exceeded its memory limit (1 GiB) and" in pods.outcome_of(observed, stop_reason=None, timeout=600).message
    observed["spec"]["containers"][0]["resources"] = {"limits": {"memory": 1000000}}
    assert "exceeded its memory limit (1000000) and" in pods.outcome_of(observed, stop_reason=None, timeout=600).message
