from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from frontend.messages import (
    UNREACHABLE,
    duration,
    gap,
    lasted,
    moment,
    notices,
    problem_of,
    receipt,
    runs_finished,
    sentence,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"), (0.44, "0.4 s"), (9.96, "10.0 s"), (52, "52 s"), (59.7, "1 min 0 s"), (125, "2 min 5 s"),
        (3600, "1 h 0 min"), (11_520, "3 h 12 min"), (176_400, "2 d 1 h"),
    ],
)  # fmt: skip
def test_duration_uses_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("queue", "text"),
    [
        (
            {"position": 2, "eta_seconds": 62.0, "why": "Waiting for a free slot, 1 ahead."},
            "1 ahead. Starts in about",
        ),
        ({"position": 1, "eta_seconds": 0.2, "why": "Waiting for a free slot, next in line."}, "next in line."),
        ({"position": 1, "eta_seconds": None, "why": "The queue is paused."}, "The queue is paused."),
        (None, "Waiting to start."),
    ],
)
def test_queued_run_shows_reason_and_eta(queue: dict[str, Any] | None, text: str) -> None:
    found = sentence({"status": "queued", "queue": queue})
    assert text in found
    assert ("about" in found) == bool(queue and (queue["eta_seconds"] or 0) >= 1)


def test_finished_run_shows_its_message() -> None:
    assert sentence({"status": "failed", "message": "The node went away."}) == "The node went away."
    assert sentence({"status": "completed", "message": None}) == ""


def test_duration_of_a_run_needs_both_times() -> None:
    run = {"started_at": "2026-11-24T08:00:00Z", "completed_at": "2026-11-24T08:02:05Z"}
    assert lasted(run) == "2 min 5 s"
    assert lasted(run | {"started_at": None}) == ""


@pytest.mark.parametrize("value", [None, "", "soon", 5, {}])
def test_invalid_time_is_none(value: object) -> None:
    assert moment(value) is None
    assert moment(datetime(2026, 11, 24)) == datetime(2026, 11, 24, tzinfo=UTC)


def test_receipt_counts_lines_and_gap_names_missing_ones() -> None:
    assert receipt({"log": {"lines": 1204, "complete": True}}) == "Log complete, 1,204 lines."
    assert receipt({"log": {"lines": 1, "complete": False}}) == "Log incomplete, 1 line."
    assert receipt({}) == "Log incomplete, 0 lines."
    assert gap({"from": 3, "to": 7, "why": "Rotated away."}) == "Lines 3 to 7 are missing: Rotated away."
    assert gap({"from": 3, "to": 3, "why": "Rotated away."}).startswith("Line 3 is missing")


@pytest.mark.parametrize(
    ("status", "detail", "page", "text"),
    [
        (401, "Send 'Authorization: Bearer' …", 502, "RUNNER_API_SECRET"),
        (403, "", 502, "RUNNER_API_SECRET"),
        (404, "", 404, "mistyped"),
        (409, "This Idempotency-Key was used …", 409, "newest run"),
        (422, "job_id: too long", 422, "job_id: too long"),
        (429, "The queue is full.", 429, "The queue is full. Try again in 10 seconds."),
        (502, "", 503, "RUNNER_URL"),
        (503, UNREACHABLE, 503, "RUNNER_URL"),
        (503, "Kubernetes does not answer.", 503, "Kubernetes does not answer. Try again in 10 seconds."),
        (500, "", 502, "Check its log"),
        (418, "", 502, "418"),
    ],
)
def test_each_error_status_has_a_problem_with_advice(status: int, detail: str, page: int, text: str) -> None:
    problem = problem_of(status, detail, "10")
    assert problem.status == page and problem.title and text in problem.text


@pytest.mark.parametrize("retry_after", ["", "Wed, 21 Oct 2026 07:28:00 GMT", "<b>", "²"])
def test_invalid_retry_after_is_ignored(retry_after: str) -> None:
    assert problem_of(429, "Full.", retry_after).text == "Full."


def test_notices_name_each_outage() -> None:
    assert notices({"status": "healthy", "redis": "ok", "mongodb": "off", "paused": False}) == []
    found = notices({"status": "degraded", "redis": "away", "mongodb": "away", "kubernetes": "away", "paused": True})
    assert [text.split()[0] for text in found] == ["The", "Redis", "MongoDB", "Kubernetes"]
    assert notices({"status": "healthy", "kubernetes": "ok", "operator": "up"}) == []
    (outage,) = notices({"status": "degraded", "kubernetes": "ok", "operator": "away"})
    assert outage.startswith("The operator is not responding.")


def test_finished_runs_are_counted_in_the_right_number() -> None:
    assert (runs_finished(0, 1), runs_finished(2, 5)) == ("0 of 1 run finished", "2 of 5 runs finished")
