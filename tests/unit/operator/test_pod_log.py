"""The state of a pod's log after each attempt to read it."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_operator.cluster_cache import ObservedRun
from pipeline_operator.pod_log import LogState, ReadResult, next_state

POD: dict[str, Any] = {"metadata": {"name": "a"}, "status": {"phase": "Running"}}
RUNNING = ObservedRun(pod=POD)
TERMINATED = ObservedRun(pod={**POD, "status": {"phase": "Failed"}})
DELETED = ObservedRun(pod=POD, pod_deleted=True)
NEVER_CREATED = ObservedRun(job_deleted=True)
WAITING, READING, AT_END = LogState.WAITING_FOR_CONTAINER, LogState.READING, LogState.AT_END
COMPLETE, INCOMPLETE, NO_CONTAINER = LogState.COMPLETE, LogState.INCOMPLETE, LogState.NO_CONTAINER
END, BREAK, REFUSED = ReadResult.END, ReadResult.BREAK, ReadResult.REFUSED


@pytest.mark.parametrize(
    ("state", "result", "observed", "after"),
    [
        (READING, END, RUNNING, AT_END),
        (READING, END, TERMINATED, COMPLETE),
        (AT_END, END, TERMINATED, COMPLETE),
        (AT_END, END, DELETED, COMPLETE),
        (AT_END, BREAK, RUNNING, READING),
        (AT_END, BREAK, TERMINATED, READING),
        (READING, BREAK, TERMINATED, READING),
        (READING, BREAK, DELETED, INCOMPLETE),
        (WAITING, BREAK, RUNNING, WAITING),
        (WAITING, BREAK, TERMINATED, WAITING),
        (WAITING, BREAK, DELETED, NO_CONTAINER),
        (WAITING, BREAK, NEVER_CREATED, NO_CONTAINER),
        (WAITING, REFUSED, RUNNING, WAITING),
        (READING, REFUSED, RUNNING, READING),
        (AT_END, REFUSED, RUNNING, AT_END),
        (AT_END, REFUSED, TERMINATED, COMPLETE),
        (READING, REFUSED, TERMINATED, INCOMPLETE),
        (WAITING, REFUSED, TERMINATED, NO_CONTAINER),
    ],
)
def test_the_state_after_an_attempt_to_read(
    state: LogState, result: ReadResult, observed: ObservedRun, after: LogState
) -> None:
    assert next_state(state, result, observed, overdue=False) is after


@pytest.mark.parametrize(("state", "after"), [(READING, INCOMPLETE), (WAITING, NO_CONTAINER)])
def test_a_log_that_cannot_be_read_for_too_long_is_given_up(state: LogState, after: LogState) -> None:
    assert next_state(state, BREAK, TERMINATED, overdue=True) is after
    assert after.final
