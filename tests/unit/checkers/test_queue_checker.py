"""The queue checker finds every single fault, and nothing where limit and order are respected."""

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
    """Return what a watcher records if one step happens per second; the order of recording does not matter."""
    pods: list[PodChange] = []
    jobs: list[JobChange] = []
    for second, (what, name) in enumerate(flow, 1):
        kind = {"pod": "ADDED", "queued": "ADDED", "gone": "DELETED", "deleted": "DELETED"}.get(what, "MODIFIED")
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
                    **common, uid=f"job-{name}", run_id=name, suspended=what in ("queued", "cancel", "deleted"),
                    cancelled=what in ("cancel", "unsuspended"), finished=what == "finished",
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


CORRECT = {
    "the queue in order": history(),
    "the queue in order, Jobs not watched": history(swapped(("pod", "a"), ("pod", "b")), jobs=[]),
    "an urgent run goes first": history(
        [*FLOW[:5], ("queued", "u"), ("released", "u"), *FLOW[5:6], ("pod", "u"), ("end", "u"), *FLOW[6:]],
        runs=[*RUNS, URGENT],
    ),
    "an urgent run came too late": history([*FLOW, ("queued", "u")], runs=[*RUNS, URGENT]),
    "a run was cancelled in the queue": history(
        [*FLOW[:5], ("queued", "u"), ("cancel", "u"), ("unsuspended", "u"), *FLOW[5:]], runs=[*RUNS, URGENT]
    ),
    "a run was deleted from the queue": history(
        [*FLOW[:5], ("queued", "u"), ("deleted", "u"), *FLOW[5:]], runs=[*RUNS, URGENT]
    ),
    "a run was cancelled in the queue, Jobs not watched": history(
        swapped(("pod", "a"), ("pod", "b")), jobs=[], runs=[*RUNS, dataclasses.replace(URGENT, left=6.5)]
    ),
    "pods listed again after the watch restarted": history([*FLOW[:13], ("running", "b"), *FLOW[13:]]),
    "unrelated events": history(
        events=[*refused("a", reason="SuccessfulCreate"), *refused("other"), *refused("a", kind="ReplicaSet")]
    ),
    "allowed holes in the watch": history(holes=["12.0 s"], holes_allowed=True),
    "an empty queue": history([], runs=[]),
}
FAULTY = {
    "a pod is created before a slot is free": (
        QueueFault.LIMIT_EXCEEDED,
        history(moved(("pod", "c"), before=("end", "a"))),
    ),
    "a pod is created while another is still being deleted": (
        QueueFault.LIMIT_EXCEEDED,
        history(moved(("pod", "e"), before=("gone", "c"))),
    ),
    "the limit was lower": (QueueFault.LIMIT_EXCEEDED, history(limit=1)),
    "an unknown pod takes a slot": (
        QueueFault.LIMIT_EXCEEDED,
        history([*FLOW[:9], ("pod", "x"), *FLOW[9:]]),
    ),
    "two runs are released in the wrong order": (
        QueueFault.OUT_OF_ORDER,
        history(swapped(("released", "c"), ("released", "d"))),
    ),
    "an urgent run waits although it came in time": (
        QueueFault.OUT_OF_ORDER,
        history([*FLOW[:5], ("queued", "u"), *FLOW[5:]], runs=[*RUNS, URGENT]),
    ),
    "a run with the same time and a lower name waits": (
        QueueFault.OUT_OF_ORDER,
        history(
            swapped(("released", "d"), ("released", "e")),
            runs=[*RUNS[:3], *[dataclasses.replace(run, queued_at=4) for run in RUNS[3:]]],
        ),
    ),
    "a pod is created in the wrong order, Jobs not watched": (
        QueueFault.OUT_OF_ORDER,
        history([step for step in FLOW if step[1] != "c" or step[0] == "queued"], jobs=[]),
    ),
    "Kubernetes refuses a pod": (QueueFault.FAILED_CREATE, history(events=refused("c"))),
    "the watch had a hole": (QueueFault.HOLE, history(holes=["12.0 s: kubectl exited with 1"])),
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_queue_has_no_findings(name: str) -> None:
    assert not check(CORRECT[name]), report(check(CORRECT[name]))


@pytest.mark.parametrize("name", FAULTY)
def test_a_single_fault_is_found_and_nothing_else(name: str) -> None:
    fault, one = FAULTY[name]
    assert {finding.kind for finding in check(one)} == {fault}, report(check(one))


def test_every_kind_of_fault_is_covered() -> None:
    assert {fault for fault, _ in FAULTY.values()} == set(QueueFault)


def test_a_repeated_refusal_is_one_finding() -> None:
    assert len(check(history(events=refused("c")))) == 1


def test_a_freed_slot_is_idle_until_the_next_pod() -> None:
    # a finishes at 12 and c's pod starts at 15; b at 18 and d's at 20; c's pod is deleted at 22 and e's starts at 24
    assert idle_seconds(history()) == [3.0, 2.0, 2.0]


def test_a_slot_that_nobody_waits_for_is_not_idle() -> None:
    assert idle_seconds(history([step for step in FLOW if step[1] in "ab"], runs=RUNS[:2])) == []


def test_an_unused_slot_is_idle_to_the_end() -> None:
    stuck = history([step for step in FLOW if step[1] in "ab"], runs=RUNS[:3], until=100.0)
    assert idle_seconds(stuck) == [100.0 - 9.0]


def test_a_slot_is_not_idle_for_a_run_that_left_the_queue() -> None:
    runs = [*RUNS[:2], dataclasses.replace(RUNS[2], left=13.5)]
    assert idle_seconds(history([step for step in FLOW if step[1] in "ab"], runs=runs, until=100.0)) == []


def test_the_spread_uses_the_nearest_rank() -> None:
    assert Spread.of([]) == Spread(0, 0.0, 0.0, 0.0)
    assert Spread.of([3.0]) == Spread(1, 3.0, 3.0, 3.0)
    assert Spread.of([float(n) for n in range(100, 0, -1)]) == Spread(100, 50.0, 95.0, 100.0)


@st.composite
def queues(draw: st.DrawFn) -> tuple[list[QueuedRun], list[Step], int]:
    """Return a correctly processed queue: its runs, its steps, and its limit."""
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
        finished = running.pop(draw(st.integers(0, len(running) - 1)))
        flow.append((draw(st.sampled_from(["end", "gone"])), finished))
    return runs, flow, limit


@given(queues())
def test_any_queue_processed_in_order_has_no_findings(queue: tuple[list[QueuedRun], list[Step], int]) -> None:
    runs, flow, limit = queue
    correct = history(flow, runs=runs, limit=limit)
    assert not check(correct), report(check(correct))
    assert len(idle_seconds(correct)) == max(0, len(runs) - limit)


@given(queues(), st.data())
def test_any_two_swapped_releases_are_found(
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
def test_any_pod_created_before_its_slot_is_free_is_found(
    queue: tuple[list[QueuedRun], list[Step], int], data: st.DataObject
) -> None:
    runs, flow, limit = queue
    late = [step for step in flow if step[0] == "pod"][limit:]
    if not late:
        return
    pod = data.draw(st.sampled_from(late))
    freed = max(index for index, step in enumerate(flow[: flow.index(pod)]) if step[0] in ("end", "gone"))
    wrong = [step for step in flow if step != pod]
    wrong.insert(freed, pod)
    assert QueueFault.LIMIT_EXCEEDED in {finding.kind for finding in check(history(wrong, runs=runs, limit=limit))}
