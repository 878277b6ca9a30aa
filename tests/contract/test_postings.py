"""What every `Postings` guarantees, in a folder and in MongoDB's `level-2`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from frontend.last_run import LastRun
from frontend.postings import PostingQuery, Postings, PostingsInFolder, PostingsInMongoDB, PostingsUnavailable

Filled = Callable[[list[dict[str, Any]]], Postings]
DOCUMENTS: list[dict[str, Any]] = [
    {"jobId": 4711, "title": "Platform Engineer", "company": "Hafenwerk", "url": "https://a.example"},
    {"jobId": "abc", "role": "Data Analyst (m/w/d)", "pipeline_status": "failed", "pipeline_run_id": "abc-1"},
    {"jobId": 4712.0, "title": "Analyst", "company": "Hafenwerk", "location": "Hamburg"}
    | {"pipeline_status": "completed", "pipeline_run_id": "4712-1"},
]


@pytest.fixture(params=["folder", "mongodb"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """A function that returns postings with these documents."""
    opened: list[Postings] = []

    def fill(documents: list[dict[str, Any]]) -> Postings:
        if request.param == "folder":
            for number, document in enumerate(documents):
                (tmp_path / f"{number:03}.json").write_text(json.dumps(document))
            opened.append(PostingsInFolder(str(tmp_path)))
        else:
            uri = request.getfixturevalue("mongodb_uri")
            with MongoClient[dict[str, Any]](uri) as client:
                for document in documents:
                    client["jobs"]["level-2"].insert_one(dict(document))
            opened.append(PostingsInMongoDB(uri))
        return opened[-1]

    yield fill
    for postings in opened:
        postings.close()


def ids(postings: Postings, **query: Any) -> set[str]:
    found, total = postings.find(PostingQuery(**query))
    assert total == len(found)
    return {posting.job_id for posting in found}


def test_alternative_field_names_are_read(filled: Filled) -> None:
    found, total = filled(DOCUMENTS).find(PostingQuery())
    assert total == 3
    by_id = {posting.job_id: posting for posting in found}
    assert by_id["4711"].title == "Platform Engineer" and by_id["4711"].url == "https://a.example"
    assert by_id["4711"].last_run == LastRun()
    assert by_id["abc"].title == "Data Analyst (m/w/d)" and by_id["abc"].last_run == LastRun("abc-1", "failed")
    assert by_id["4712"].company == "Hafenwerk"


def test_a_search_matches_every_word_literally(filled: Filled) -> None:
    postings = filled(DOCUMENTS)
    assert ids(postings, text="ANALYST") == {"abc", "4712"}
    assert ids(postings, text="analyst hafen") == {"4712"}
    assert ids(postings, text="4711") == {"4711"} and ids(postings, text="4712 analyst") == {"4712"}
    assert ids(postings, text="abc") == {"abc"} and ids(postings, text="471") == set()
    assert ids(postings, text="hafen\0hamburg") == {"4712"}
    assert ids(postings, text="9" * 100) == set()
    assert ids(postings, text="(m/w/d)") == {"abc"}
    assert ids(postings, text=".*") == set()


def test_postings_are_filtered_by_status(filled: Filled) -> None:
    postings = filled([*DOCUMENTS, {"jobId": 5, "pipeline_status": {"$gt": ""}, "pipeline_run_id": "x"}])
    assert ids(postings, status="new") == {"4711", "5"}
    assert ids(postings, status="failed") == {"abc"}
    assert ids(postings, status="running") == set()


def test_pages_show_each_posting_once(filled: Filled) -> None:
    postings = filled([{"jobId": number, "title": "Job"} for number in range(7)])
    pages = [postings.find(PostingQuery(page=page, per_page=3)) for page in (1, 2, 3, 4)]
    assert [len(found) for found, _ in pages] == [3, 3, 1, 0]
    assert {total for _, total in pages} == {7}
    assert len({posting.job_id for found, _ in pages for posting in found}) == 7


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"jobId": None, "title": {"$ne": 1}, "company": [1, ["two"]], "location": True, "url": "javascript:alert(1)"},
        {"jobId": True, "title": "<script>" * 1000, "pipeline_status": "running", "pipeline_run_id": 5},
        {"jobId": ["4711"], "url": ["https://a.example"]},
    ],
)
def test_hostile_fields_are_ignored_or_truncated(filled: Filled, document: dict[str, Any]) -> None:
    [posting], total = filled([document]).find(PostingQuery())
    assert total == 1 and posting.job_id == "" and posting.last_run == LastRun()
    assert len(posting.title) <= 300 and not posting.url.startswith("javascript")


def test_half_an_emoji_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('{"jobId": "1", "title": "Half \\ud83d", "company": "a\\udcfcb"}')
    [posting] = PostingsInFolder(str(tmp_path)).find(PostingQuery())[0]
    assert (posting.job_id, posting.title, posting.company) == ("1", "Half \ufffd", "a\ufffdb")


def test_an_integer_is_found_only_by_its_own_decimal_form(filled: Filled) -> None:
    postings = filled([{"jobId": 7, "title": "int"}, {"jobId": "007", "title": "str"}])
    assert ids(postings, text="7") == {"7"}
    assert ids(postings, text="007") == {"007"}


def test_an_empty_source_has_no_postings(filled: Filled) -> None:
    assert filled([]).find(PostingQuery(text="x")) == ([], 0)


def test_an_unavailable_source_is_reported_with_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.postings._TIMEOUT_MS", 200)
    unreachable = PostingsInMongoDB("mongodb://127.0.0.1:9/")
    missing, unnamed = PostingsInFolder(str(tmp_path / "none")), PostingsInFolder("")
    for postings, setting in ((unreachable, "MONGODB_URI"), (missing, "POSTINGS_DIR"), (unnamed, "MONGODB_URI")):
        with pytest.raises(PostingsUnavailable, match=setting):
            postings.find(PostingQuery())
        postings.close()


def test_a_folder_gets_its_runs_from_a_callback_and_skips_broken_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff{"jobId": 4711}')
    (tmp_path / "b.json").write_text("[1]")
    (tmp_path / "c.json").write_text("{")
    postings = PostingsInFolder(str(tmp_path), lambda: {"4711": LastRun("4711-1", "running")})
    assert ids(postings, status="running") == {"4711"}
    assert ids(postings, status="new") == set()
