"""Runs: allowed transitions, outcomes that never change, records."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.artifacts.folder import too_many_bytes
from launcher.domain.errors import IllegalTransition
from launcher.domain.log_lines import Gap, Receipt
from launcher.domain.outcomes import cancelled_before_start, completed, failure, outcome_of_process, with_excess
from launcher.domain.reasons import Reason, sentence, signal_name
from launcher.domain.runs import TRANSITIONS, Outcome, Run, RunStatus, supersedes

AT = datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)
QUEUED = Run(run_id="4711-a", job_id="4711", created_at=AT, updated_at=AT)


def in_status(status: RunStatus) -> Run:
    return dataclasses.replace(QUEUED, status=status)


def moved_to(run: Run, status: RunStatus) -> Run:
    if status is RunStatus.RUNNING:
        return run.started(AT)
    return run.finished(Outcome(status=status, reason=Reason.COMPLETED, message="x"), AT, Receipt())


@pytest.mark.parametrize(
    ("old", "new"), list(itertools.product(RunStatus, [status for status in RunStatus if status != "queued"]))
)
def test_a_run_makes_only_allowed_transitions(old: RunStatus, new: RunStatus) -> None:
    if new in TRANSITIONS[old]:
        assert moved_to(in_status(old), new).status is new
    else:
        with pytest.raises(IllegalTransition):
            moved_to(in_status(old), new)


def test_a_finished_run_cannot_be_cancelled() -> None:
    with pytest.raises(IllegalTransition):
        in_status(RunStatus.COMPLETED).cancelling(AT)


@given(st.integers(0, 10_000))
def test_the_first_outcome_stays_whatever_the_order_of_writes(seed: int) -> None:
    started = QUEUED.started(AT)
    states = [QUEUED, started, started.cancelling(AT)]
    states += [run.finished(failure(Reason.PIPELINE_ERROR, exit_code=n), AT, Receipt()) for n, run in enumerate(states)]
    writes = [random.Random(seed + n).choice(states) for n in range(12)]
    stored: Run | None = None
    first_outcome: Run | None = None
    for run in writes:
        if supersedes(run, stored):
            stored = run
        if stored is not None and stored.status.terminal:
            first_outcome = first_outcome or stored
            assert stored is first_outcome
        assert stored is not None


texts = st.text(max_size=20)


@given(texts, st.dictionaries(texts, st.one_of(texts, st.booleans(), st.integers(-9, 9))), st.integers(0, 9), texts)
def test_a_run_is_unchanged_by_a_json_round_trip(
    job_id: str, params: dict[str, str | bool | int], number: int, why: str
) -> None:
    run = dataclasses.replace(QUEUED, job_id=job_id, params=params).started(AT)
    receipt = Receipt(lines=number, bytes=number, gaps=(Gap(first=1, last=number, why=why),))
    run = run.finished(failure(Reason.TIMED_OUT, limit=3), AT, receipt, {"a_url": job_id})
    assert Run.from_json(run.to_json()) == run
    assert Run.from_document({**run.to_document(), "of_a_newer_version": 1}) == run


@pytest.mark.parametrize(
    ("written", "read"),
    [(r'"\ud83d"', "\N{REPLACEMENT CHARACTER}"), (r'"\ud83d\ude00"', "😀"), ("NaN", None), ("1e999", None)],
)
def test_a_record_written_by_another_program_is_cleaned(written: str, read: str | None) -> None:
    run = dataclasses.replace(QUEUED, params={"name": "placeholder"})
    found = Run.from_json(run.to_json().decode().replace('"placeholder"', written))
    assert found.params == {"name": read}
    assert found == Run.from_document(run.to_document() | {"params": {"name": json.loads(written)}})
    json.dumps(found.to_document(), allow_nan=False).encode()


@pytest.mark.parametrize("text", ["", "[1]", '"\\ud83d"', '{"a": "\\ud83d"}', "[" * 100_000, b"\xff", "NaN"])
def test_an_invalid_record_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Run.from_json(text)


def test_an_undecodable_detail_of_an_outcome_or_a_wait_can_be_recorded() -> None:
    detail = "cannot open '\udcfc'"
    failed = QUEUED.waiting(detail, AT).finished(failure(Reason.CANNOT_START, detail=detail), AT, Receipt())
    assert "cannot open '\N{REPLACEMENT CHARACTER}'" in (failed.message or "")
    assert Run.from_json(QUEUED.waiting(detail, AT).to_json()).waiting_for == "cannot open '\N{REPLACEMENT CHARACTER}'"
    assert Run.from_json(failed.to_json()) == failed


@pytest.mark.parametrize(
    ("exit_code", "stop_reason", "status", "reason", "shown"),
    [
        (0, None, "completed", Reason.COMPLETED, 0),
        (3, None, "failed", Reason.PIPELINE_ERROR, 3),
        (143, None, "failed", Reason.PIPELINE_ERROR, 143),
        (-11, None, "failed", Reason.KILLED_BY_SIGNAL, 139),
        (-9, None, "failed", Reason.KILLED_BY_SIGNAL, 137),
        (0, Reason.CANCELLED, "cancelled", Reason.CANCELLED, 0),
        (-15, Reason.CANCELLED, "cancelled", Reason.CANCELLED, 143),
        (0, Reason.TIMED_OUT, "failed", Reason.TIMED_OUT, 0),
        (-9, Reason.TIMED_OUT, "failed", Reason.TIMED_OUT, 137),
        (-15, Reason.ARTIFACTS_TOO_LARGE, "failed", Reason.ARTIFACTS_TOO_LARGE, 143),
        (-15, Reason.LAUNCHER_LOST, "failed", Reason.LAUNCHER_LOST, 143),
    ],
)
def test_each_way_a_process_exits_has_its_outcome(
    exit_code: int, stop_reason: Reason | None, status: str, reason: Reason, shown: int
) -> None:
    outcome = outcome_of_process(exit_code, stop_reason=stop_reason, timeout=600)
    assert (outcome.status, outcome.reason, outcome.exit_code) == (status, reason, shown)


def test_only_a_completed_run_fails_because_of_its_artifacts() -> None:
    excess = too_many_bytes(1024)
    for exit_code, reason in ((0, Reason.ARTIFACTS_TOO_LARGE), (3, Reason.PIPELINE_ERROR)):
        outcome = with_excess(outcome_of_process(exit_code, stop_reason=None, timeout=600), excess)
        assert (outcome.status, outcome.reason, outcome.exit_code) == ("failed", reason, exit_code)
    assert with_excess(completed(), "") == completed()


def test_a_run_that_never_started_has_no_exit_code() -> None:
    outcome = cancelled_before_start()
    assert (outcome.status, outcome.exit_code) == ("cancelled", None)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    text = sentence(reason, exit_code=-9, limit=5)
    assert text.endswith(".")
    assert "None" not in text


def test_a_signal_is_shown_by_its_name() -> None:
    assert (signal_name(11), signal_name(250)) == ("SIGSEGV", "signal 250")
    assert "memory" in sentence(Reason.KILLED_BY_SIGNAL, exit_code=-9)
