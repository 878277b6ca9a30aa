"""A document that MongoDB itself refuses is not an outage, and concerns its own run alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import WriteError

from launcher.domain.runs import Run
from launcher.recorder import Mirror, Recorder
from launcher.stores import mongodb
from launcher.stores.archive import Archive

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
REFUSED, TAKEN = (Run(run_id=f"{job_id}-a", job_id=job_id, created_at=AT, updated_at=AT) for job_id in ("4711", "4712"))


@asynccontextmanager
async def picky(uri: str) -> AsyncIterator[mongodb.Client]:
    """A MongoDB that refuses to write this one run's id: another item has it, and it must be unique."""
    async with mongodb.connect(uri) as client:
        items = client[mongodb.DATABASE]["level-2"]
        await items.create_index("pipeline_run_id", unique=True)
        others = [{"jobId": 4711, "pipeline_run_id": "before-1"}, {"jobId": 4712, "pipeline_run_id": "before-2"}]
        await items.insert_many([{"jobId": 1, "pipeline_run_id": REFUSED.run_id}, *others])
        yield client


def test_a_document_that_mongodb_refuses_is_no_outage(mongodb_uri: str) -> None:
    async def check() -> None:
        async with picky(mongodb_uri) as client:
            with pytest.raises(WriteError):
                await mongodb.MongoWorkItems(client).mark(REFUSED, {})
            assert await mongodb.MongoWorkItems(client).mark(TAKEN, {})

    asyncio.run(check())


def test_a_refused_work_item_costs_neither_the_runs_record_nor_another_run(mongodb_uri: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with picky(mongodb_uri) as client, asyncio.timeout(20):
            mirror = Mirror("mongodb", mongodb.MongoRunStore(client), items=mongodb.MongoWorkItems(client))
            recorder = Recorder(Archive(tmp_path), [mirror])
            recorder.start()
            recorder.record(REFUSED)
            recorder.record(TAKEN)
            while mirror.backlog:
                await asyncio.sleep(0.01)
            await recorder.stop()
            runs = await client[mongodb.DATABASE]["pipeline_runs"].find({}, {"_id": 1}).sort("_id").to_list()
            assert [run["_id"] for run in runs] == ["4711-a", "4712-a"]
            item: dict[str, Any] | None = await client[mongodb.DATABASE]["level-2"].find_one({"jobId": 4712})
            assert item and item["pipeline_run_id"] == "4712-a"

    asyncio.run(check())
