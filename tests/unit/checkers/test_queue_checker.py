"""The queue checker finds nothing where limit and order are kept, and each single fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.changes import ClusterEvent, JobChange, PodChange
from checkers.findings import report
from checkers.queue import QueuedRun, QueueFault, QueueHistory, Spread, check, idle_seconds

Step = tuple[str, str]
"""What happened, and to which run."""
LIMIT = 2
RUNS = [QueuedRun(run_id=name, queued_at=n, queued=float(n)) for n, name in enumerate("abcde", 1)]
URGENT = QueuedRun(run_id="u", priority=5, queued_at=9, queued=5.5)
FLOW: list[Step] = [
    *[("queued", name) for name in "abcde"],
    *[("released", "a"), ("released", "b"), ("pod", "b"), ("pod", "a"), ("running", "a"), ("running", "b")],
    *[("end", "a"), ("finished", "a"), ("released", "c"), ("pod", "c"), ("running", "c"), ("gone", "a")],
    *[("end", "b"), ("released", "d"), ("pod", "d"), ("deleting", "d")],
    *[("gone", "c"), ("released", "e"), ("pod", "e"), ("end", "d"), ("end", "e")],
]
PHASES = {"pod": "Pending", "running": "Running", "deleting": "Running", "end": "Succeeded", "gone": "Running"}


def history(flow: Sequence[Step] = FLOW, *, shuffled: bool = True, **changes: Any) -> QueueHistory:
    """Return what is seen where one step happens a second; the order in which it is seen does not matter."""
    pods: list[PodChange] = []
    jobs: list[JobChange] = []
    for second, (what, name) in enumerate(flow, 1):
        kind = {"pod": "ADDED", "queued": "ADDED", "gone": "DELETED", "forgotten": "DELETED"}.get(what, "MODIFIED")
        common: dict[str, Any] = {"seen": float(second), "kind": kind, "resource_version": 100 + second}
        if what in PHASES:
            deleting = what in ("deleting", "gone")
            pods.append(
                PodChange(
                    **common, uid=f"pod-{name}", name=f"{name}-1", run_id=name, job=name,
                    phase=PHASES[what], deleting=deleting,
                )
            )  # fmt: skip
        else:
            jobs.append(
                JobChange(
                    **common, uid=f"job-{name}", run_id=name, suspended=what in ("queued", "cancel", "forgotten"),
                    cancelled=what in ("cancel", "let go"), finished=what == "finished",
                )
            )  # fmt: skip
    if shuffled:
        pods.reverse()
    defaults: dict[str, Any] = {"limit": LIMIT, "runs": RUNS, "pods": pods, "jobs": jobs}
    return QueueHistory(**{**defaults, **changes})


def moved(step: Step, before: Step) -> list[Step]:
    """Return the flow with one step earlier or later."""
    flow = [one for one in FLOW if one != step]
    flow.insert(flow.index(before), step)
    return flow


def swapped(one: Step, other: Step) -> list[Step]:
    return [{one: other, other: one}.get(step, step) for step in FLOW]


def refused(name: str, *, kind: str = "Job", reason: str = "FailedCreate") -> list[ClusterEvent]:
    event = ClusterEvent(
        seen=1.0, kind="ADDED", uid="1", reason=reason, about_kind=kind, about_name=name, message="exceeded quota"
    )
    return [event, dataclasses.replace(event, kind="MODIFIED", seen=2.0)]


RIGHT = {
    "the queue in its order": history(),
    "the queue in its order, Jobs not watched": history(swapped(("pod", "a"), ("pod", "b")), jobs=[]),
    "an urgent one goes first": history(
        [*FLOW[:5], ("queued", "u"), ("released", "u"), *FLOW[5:6], ("pod", "u"), ("end", "u"), *FLOW[6:]],
        runs=[*RUNS, URGENT],
    ),
    "an urgent one came too late": history([*FLOW, ("queued", "u")], runs=[*RUNS, URGENT]),
    "one was cancelled in the queue": history(
        [*FLOW[:5], ("queued", "u"), ("cancel", "u"), ("let go", "u"), *FLOW[5:]], runs=[*RUNS, URGENT]
    ),
    "one was deleted from the queue": history(
        [*FLOW[:5], ("queued", "u"), ("forgotten", "u"), *FLOW[5:]], runs=[*RUNS, URGENT]
    ),
    "one was cancelled in the queue, Jobs not watched": history(
        swapped(("pod", "a"), ("pod", "b")), jobs=[], runs=[*RUNS, dataclasses.replace(URGENT, left=6.5)]
    ),
    "pods that were seen again after a second listing": history([*FLOW[:13], ("running", "b"), *FLOW[13:]]),
    "events of others": history(
        events=[*refused("a", reason="SuccessfulCreate"), *refused("other"), *refused("a", kind="ReplicaSet")]
    ),
    "holes that are allowed": history(holes=["12.0 s"], holes_allowed=True),
    "nothing": history([], runs=[]),
}
WRONG = {
    "a pod is created before a slot is free": (
        QueueFault.LIMIT_EXCEEDED,
        history(moved(("pod", "c"), before=("end", "a"))),
    ),
    "a pod is created while one is only being deleted": (
        QueueFault.LIMIT_EXCEEDED,
        history(moved(("pod", "e"), before=("gone", "c"))),
    ),
    "the limit was lower": (QueueFault.LIMIT_EXCEEDED, history(limit=1)),
    "a pod of somebody unknown takes a slot": (
        QueueFault.LIMIT_EXCEEDED,
        history([*FLOW[:9], ("pod", "x"), *FLOW[9:]]),
    ),
    "two runs are released in the wrong order": (
        QueueFault.OUT_OF_ORDER,
        history(swapped(("released", "c"), ("released", "d"))),
    ),
    "an urgent one waits though it came in time": (
        QueueFault.OUT_OF_ORDER,
        history([*FLOW[:5], ("queued", "u"), *FLOW[5:]], runs=[*RUNS, URGENT]),
    ),
    "one of equal time and lower name waits": (
        QueueFault.OUT_OF_ORDER,
        history(
            swapped(("released", "d"), ("released", "e")),
            runs=[*RUNS[:3], *[dataclasses.replace(run, queued_at=4) for run in RUNS[3:]]],
        ),
    ),
    "one is created in the wrong order, Jobs not watched": (
        QueueFault.OUT_OF_ORDER,
        history([step for step in FLOW if step[1] != "c" or step[0] == "queued"], jobs=[]),
    ),
    "Kubernetes refuses a pod": (QueueFault.FAILED_CREATE, history(events=refused("c"))),
    "the watch had a hole": (QueueFault.HOLE, history(holes=["12.0 s: kubectl ended with 1"])),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_queue_has_no_findings(name: str) -> None:
    assert not check(RIGHT[name]), report(check(RIGHT[name]))


@pytest.mark.parametrize("name", WRONG)
def test_a_single_fault_is_found_and_nothing_else_is(name: str) -> None:
    fault, one = WRONG[name]
    assert {finding.kind for finding in check(one)} == {fault}, report(check(one))


def test_each_kind_of_fault_is_tried() -> None:
    assert {fault for fault, _ in WRONG.values()} == set(QueueFault)


def test_a_refusal_that_is_reported_again_is_one_finding() -> None:
    assert len(check(history(events=refused("c")))) == 1


def test_a_freed_slot_is_idle_until_the_next_pod() -> None:
    # a ends at 12, c's pod at 15; b at 18, d's at 20; c's pod gone at 22, e's at 24; then nobody waits
    assert idle_seconds(history()) == [3.0, 2.0, 2.0]


def test_a_slot_that_nobody_waits_for_is_not_idle() -> None:
    assert idle_seconds(history([step for step in FLOW if step[1] in "ab"], runs=RUNS[:2])) == []


def test_a_slot_that_is_never_taken_is_idle_to_the_end() -> None:
    stuck = history([step for step in FLOW if step[1] in "ab"], runs=RUNS[:3], until=100.0)
    assert idle_seconds(stuck) == [100.0 - 9.0]


def test_a_slot_is_not_idle_for_one_who_left() -> None:
    runs = [*RUNS[:2], dataclasses.replace(RUNS[2], left=13.5)]
    assert idle_seconds(history([step for step in FLOW if step[1] in "ab"], runs=runs, until=100.0)) == []


def test_the_spread_is_by_nearest_rank() -> None:
    assert Spread.of([]) == Spread(0, 0.0, 0.0, 0.0)
    assert Spread.of([3.0]) == Spread(1, 3.0, 3.0, 3.0)
    assert Spread.of([float(n) for n in range(100, 0, -1)]) == Spread(100, 50.0, 95.0, 100.0)


@st.composite
def queues(draw: st.DrawFn) -> tuple[list[QueuedRun], list[Step], int]:
    """Return a queue that is worked off as it should be: runs, what happens, and the limit."""
    priorities = draw(st.lists(st.integers(-2, 2), min_size=1, max_size=8))
    runs = [
        QueuedRun(run_id=f"r{n}", priority=priority, queued_at=n, queued=float(n + 1))
        for n, priority in enumerate(priorities)
    ]
    limit = draw(st.integers(1, 3))
    flow: list[Step] = [("queued", run.run_id) for run in runs]
    waiting, running = sorted(runs, key=lambda run: run.key), list[str]()
    while waiting or running:
        while waiting and len(running) < limit:
            running.append(waiting.pop(0).run_id)
            flow += [("released", running[-1]), ("pod", running[-1])]
        ended = running.pop(draw(st.integers(0, len(running) - 1)))
        flow.append((draw(st.sampled_from(["end", "gone"])), ended))
    return runs, flow, limit


@given(queues())
def test_any_queue_that_is_worked_off_in_order_has_no_findings(queue: tuple[list[QueuedRun], list[Step], int]) -> None:
    runs, flow, limit = queue
    right = history(flow, runs=runs, limit=limit)
    assert not check(right), report(check(right))
    assert len(idle_seconds(right)) == max(0, len(runs) - limit)


@given(queues(), st.data())
def test_any_two_releases_that_are_swapped_are_found(
    queue: tuple[list[QueuedRun], list[Step], int], data: st.DataObject
) -> None:
    runs, flow, limit = queue
    releases = [step for step in flow if step[0] == "released"]
    if len(releases) < 2:
        return
    one, other = data.draw(st.lists(st.sampled_from(releases), min_size=2, max_size=2, unique=True))
    swap = {one: other, other: one}
    wrong = history([swap.get(step, step) for step in flow], runs=runs, limit=limit)
    assert {finding.kind for finding in check(wrong)} == {QueueFault.OUT_OF_ORDER}


@given(queues(), st.data())
def test_any_pod_that_comes_before_its_slot_is_free_is_found(
    queue: tuple[list[QueuedRun], list[Step], int], data: st.DataObject
) -> None:
    runs, flow, limit = queue
    late = [step for step in flow if step[0] == "pod"][limit:]
    if not late:
        return
    pod = data.draw(st.sampled_from(late))
    freed = max(place for place, step in enumerate(flow[: flow.index(pod)]) if step[0] in ("end", "gone"))
    wrong = [step for step in flow if step != pod]
    wrong.insert(freed, pod)
    assert QueueFault.LIMIT_EXCEEDED in {finding.kind for finding in check(history(wrong, runs=runs, limit=limit))}
