"""What every `WorkItems` guarantees, in memory and in MongoDB's `level-2`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import cancelled_before_start, failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run

AT = datetime(2026, 11, 24, 8, 0, 0, 123000, tzinfo=UTC)
URLS = {"cv_md_url": "/artifacts/a/CV.md"}


def queued(name: str, *, job_id: str = "4711", microseconds: int = 0) -> Run:
    at = AT + timedelta(microseconds=microseconds)
    return Run(run_id=name, job_id=job_id, created_at=at, updated_at=at)


def test_five_fields_are_written_and_nothing_else_changes(work_items: Any) -> None:
    async def check() -> None:
        async with work_items() as items:
            run = queued("a").started(AT)
            assert await items.marks.mark(run, {})
            assert await items.read(4711) == {
                "title": "unchanged",
                "pipeline_run_id": "a",
                "pipeline_status": "running",
                "pipeline_run_at": AT,
                "pipeline_completed_at": None,
                "artifact_urls": {},
            }
            assert await items.marks.mark(run.ended(failure(Reason.PIPELINE_ERROR, exit_code=3), AT, Receipt()), URLS)
            item = await items.read(4711)
            assert item["pipeline_status"] == "failed"
            assert item["pipeline_completed_at"] == AT
            assert item["artifact_urls"] == URLS

    asyncio.run(check())


def test_a_job_id_matches_as_int_and_as_str(work_items: Any) -> None:
    async def check() -> None:
        async with work_items() as items:
            assert await items.marks.mark(queued("a", job_id="4711"), {})
            assert await items.marks.mark(queued("b", job_id="abc"), {})
            assert not await items.marks.mark(queued("c", job_id="nobody"), {})
            assert not await items.marks.mark(queued("d", job_id="9" * 40), {})

    asyncio.run(check())


@pytest.mark.parametrize("job_id", ["04711", "+4711", "-4711", "4711.0", "4711 ", "4_711", "٤٧١١", "-0", "00", "abC"])
def test_an_int_matches_only_its_own_decimal_form(work_items: Any, job_id: str) -> None:
    async def check() -> None:
        async with work_items() as items:
            assert not await items.marks.mark(queued("a", job_id=job_id), {})
            assert "pipeline_run_id" not in await items.read(4711)

    asyncio.run(check())


def test_an_older_run_never_overwrites_a_newer_one(work_items: Any) -> None:
    async def check() -> None:
        async with work_items() as items:
            older, newer = queued("a"), queued("b", microseconds=5_000)
            assert await items.marks.mark(newer, {})
            assert not await items.marks.mark(older.started(AT), {})
            assert (await items.read(4711))["pipeline_run_id"] == "b"
            assert await items.marks.mark(queued("c", microseconds=9_000), {})
            assert (await items.read(4711))["pipeline_run_id"] == "c"

    asyncio.run(check())


def test_of_two_runs_in_one_millisecond_the_same_one_always_wins(work_items: Any) -> None:
    async def check() -> None:
        async with work_items() as items:
            await items.marks.mark(queued("b"), {})
            await items.marks.mark(queued("a"), {})
            assert (await items.read(4711))["pipeline_run_id"] == "b"

    asyncio.run(check())


def test_a_late_state_does_not_overwrite_the_outcome_of_the_same_run(work_items: Any) -> None:
    async def check() -> None:
        async with work_items() as items:
            run = queued("a")
            await items.marks.mark(run.ended(cancelled_before_start(), AT, Receipt()), {})
            assert not await items.marks.mark(run.started(AT), {})
            assert (await items.read(4711))["pipeline_status"] == "cancelled"

    asyncio.run(check())
