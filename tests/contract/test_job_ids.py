"""Which item a job_id matches in each store: the one with that text, or with that integer in decimal form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from frontend.postings import PostingQuery, Postings, PostingsInFolder, PostingsInMongoDB
from launcher.domain.runs import Run
from launcher.stores import mongodb
from launcher.stores.memory import InMemoryWorkItems
from pipeline_runner.errors import PostingNotFoundError
from pipeline_runner.posting_sources import load_posting
from pipeline_runner.settings import Settings

STORED: tuple[int | str, ...] = (7, "007", "+7", 0, -5, 2**63 - 1, "9" * 30, "\u0667")
BY_TEXT = {str(job_id): job_id for job_id in STORED}
UNMATCHED = ["07", "-7", "7.0", "7e0", "0x7", "7_", "-0", "00", "-05", "5", "\uff17", str(2**63), "8" * 30]
PADDED = [" 7", "7 ", "7\n"]
Lookup = Callable[[str], set[Any]]


def run_of(job_id: str) -> Run:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    return Run(run_id="a", job_id=job_id, created_at=at, updated_at=at)


def marked_in_memory(job_id: str) -> set[Any]:
    items = InMemoryWorkItems({str(each): {} for each in STORED})
    asyncio.run(items.mark(run_of(job_id), {}))
    return {each for each in STORED if items.items[str(each)]}


def marked_in_mongodb(uri: str) -> Lookup:
    async def mark(job_id: str) -> set[Any]:
        async with mongodb.connect(uri) as client:
            await mongodb.MongoWorkItems(client).mark(run_of(job_id), {})
            marked = await client["jobs"]["level-2"].find({"pipeline_run_id": "a"}).to_list()
        return {item["jobId"] for item in marked}

    return lambda job_id: asyncio.run(mark(job_id))


def read_by_pipeline(**environ: str) -> Lookup:
    def read(job_id: str) -> set[Any]:
        try:
            return {json.loads(load_posting(job_id, Settings.from_environment(environ)).title)}
        except PostingNotFoundError:
            return set()

    return read


def shown_on_pages(postings: Postings) -> Lookup:
    def show(job_id: str) -> set[Any]:
        found, _ = postings.find(PostingQuery(text=job_id))
        return {json.loads(posting.title) for posting in found if posting.job_id == job_id}

    return show


@pytest.fixture(params=["memory", "mongodb", "pipeline folder", "pipeline mongodb", "pages folder", "pages mongodb"])
def lookup(request: pytest.FixtureRequest, tmp_path: Path) -> Lookup:
    """A function that returns the stored items that a job_id matches."""
    documents = [{"jobId": job_id, "title": json.dumps(job_id)} for job_id in STORED]
    for number, document in enumerate(documents):
        (tmp_path / f"item-{number}.json").write_text(json.dumps(document))
    uri = ""
    if "mongodb" in request.param:
        uri = request.getfixturevalue("mongodb_uri")
        with MongoClient[dict[str, Any]](uri) as client:
            client["jobs"]["level-2"].insert_many(documents)
    match request.param.split():
        case ["memory"]:
            return marked_in_memory
        case ["mongodb"]:
            return marked_in_mongodb(uri)
        case ["pipeline", _]:
            return read_by_pipeline(MONGODB_URI=uri) if uri else read_by_pipeline(POSTINGS_DIR=str(tmp_path))
    postings = PostingsInMongoDB(uri) if uri else PostingsInFolder(str(tmp_path))
    request.addfinalizer(postings.close)
    return shown_on_pages(postings)


def test_an_integer_matches_only_its_own_decimal_form(lookup: Lookup) -> None:
    for job_id in UNMATCHED + PADDED:
        assert lookup(job_id) == set(), job_id


@pytest.mark.parametrize("job_id", BY_TEXT)
def test_each_item_matches_its_own_text(lookup: Lookup, job_id: str) -> None:
    assert lookup(job_id) == {BY_TEXT[job_id]}
