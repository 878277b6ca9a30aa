"""A document that MongoDB rejects is not an outage and affects only its own run."""

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
from launcher.mirror import Mirror
from launcher.recorder import Recorder
from launcher.stores import mongodb
from launcher.stores.archive import Archive
from launcher.stores.watch import StoreWatch

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
REJECTED, ACCEPTED = (
    Run(run_id=f"{job_id}-a", job_id=job_id, created_at=AT, updated_at=AT) for job_id in ("4711", "4712")
)


@asynccontextmanager
async def mongodb_with_a_conflict(uri: str) -> AsyncIterator[mongodb.Client]:
    """A MongoDB that rejects the id of one run: it must be unique, and another item has it."""
    async with mongodb.connect(uri) as client:
        items = client[mongodb.DATABASE]["level-2"]
        await items.create_index("pipeline_run_id", unique=True)
        others = [{"jobId": 4711, "pipeline_run_id": "before-1"}, {"jobId": 4712, "pipeline_run_id": "before-2"}]
        await items.insert_many([{"jobId": 1, "pipeline_run_id": REJECTED.run_id}, *others])
        yield client


def test_a_rejected_document_is_not_an_outage(mongodb_uri: str) -> None:
    async def check() -> None:
        async with mongodb_with_a_conflict(mongodb_uri) as client:
            with pytest.raises(WriteError):
                await mongodb.MongoWorkItems(client).mark(REJECTED, {})
            assert await mongodb.MongoWorkItems(client).mark(ACCEPTED, {})

    asyncio.run(check())


def test_a_rejected_work_item_affects_neither_its_runs_record_nor_other_runs(mongodb_uri: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with mongodb_with_a_conflict(mongodb_uri) as client, asyncio.timeout(20):
            mirror = Mirror(StoreWatch("mongodb", mongodb.MongoRunStore(client)), items=mongodb.MongoWorkItems(client))
            recorder = Recorder(Archive(tmp_path), [mirror])
            recorder.start()
            recorder.record(REJECTED)
            recorder.record(ACCEPTED)
            while mirror.backlog:
                await asyncio.sleep(0.01)
            await recorder.stop()
            runs = await client[mongodb.DATABASE]["pipeline_runs"].find({}, {"_id": 1}).sort("_id").to_list()
            assert [run["_id"] for run in runs] == ["4711-a", "4712-a"]
            item: dict[str, Any] | None = await client[mongodb.DATABASE]["level-2"].find_one({"jobId": 4712})
            assert item and item["pipeline_run_id"] == "4712-a"

    asyncio.run(check())
