"""Reading postings from files and from a fake MongoDB."""

from __future__ import annotations

import json
from typing import Any

import pymongo
import pytest

from pipeline_runner.errors import PostingNotFoundError, PostingsUnreachableError, PostingUnreadableError
from pipeline_runner.posting_sources import load_posting
from pipeline_runner.postings import posting_from
from pipeline_runner.requirements import requirements_of
from pipeline_runner.settings import Settings


def settings_for(**environ: object) -> Settings:
    return Settings.from_environment({name: str(value) for name, value in environ.items()})


def posting(**fields: object):
    return posting_from(fields, job_id="1", source="a test")


def test_both_sets_of_field_names_are_read():
    one = posting(title="T", company="C", location="L", url="U", description="D", requirements=["R"])
    other = posting(role="T", company="C", location="L", jobUrl="U", jobDescription="D", requirements="R")
    assert one == other


def test_empty_field_falls_back_to_its_other_name():
    assert posting(title=" ", role="Engineer").title == "Engineer"


@pytest.mark.parametrize("value", [None, {}, [], True, {"a": 1}, [None, {}]])
def test_other_types_count_as_missing(value):
    assert posting(title=value, company=value, description=value, requirements=value) == posting()


def test_titles_are_one_line_and_descriptions_keep_line_breaks():
    read = posting(title="Senior\n\tEngineer\x00", description="one\r\ntwo\u2028three\x07")
    assert read.title == "Senior Engineer"
    assert read.description == "one\ntwo\nthree"


def test_lone_surrogates_and_control_characters_are_removed():
    read = posting(title="Half \ud83d\x00\x0b\ufffe emoji", requirements=["one\ud83d"])
    assert (read.title, read.requirements) == ("Half \ufffd emoji", ("one\ufffd",))


@pytest.mark.parametrize("stored", [4711, "4711", 4711.0])
def test_posting_is_found_by_job_id_in_any_file(tmp_path, stored):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text(json.dumps({"jobId": stored, "title": "Engineer"}))
    assert load_posting("4711", settings_for(POSTINGS_DIR=tmp_path)).title == "Engineer"


def test_file_name_takes_precedence(tmp_path):
    (tmp_path / "1.json").write_text('{"title": "by name"}')
    (tmp_path / "0.json").write_text('{"title": "by id", "jobId": 1}')
    assert load_posting("1", settings_for(POSTINGS_DIR=tmp_path)).title == "by name"


def test_at_most_ten_existing_postings_are_listed(tmp_path):
    for number in range(10, 25):
        (tmp_path / f"{number}.json").write_text("{}")
    with pytest.raises(PostingNotFoundError, match=r"Existing postings: 10, 11, .*, 19 and more\.$"):
        load_posting("1", settings_for(POSTINGS_DIR=tmp_path))


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000])
def test_invalid_file_is_unreadable(tmp_path, content):
    (tmp_path / "1.json").write_bytes(content)
    with pytest.raises(PostingUnreadableError):
        load_posting("1", settings_for(POSTINGS_DIR=tmp_path))


def test_postings_dir_takes_precedence_over_mongodb():
    assert settings_for(POSTINGS_DIR="p", MONGODB_URI="mongodb://h").mongodb_uri is None
    assert settings_for(MONGODB_URI="mongodb://h").mongodb_uri == "mongodb://h"
    assert "mongodb" not in repr(settings_for(MONGODB_URI="mongodb://h")).replace("mongodb_uri", "")


class FakeMongoClient:
    """The part of MongoDB's client that the pipeline uses."""

    documents: list[dict[str, Any]] = []  # noqa: RUF012 - each test sets its own
    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, _uri: str, **options: Any) -> None:
        type(self).options = options
        self.path: list[str] = []

    def __enter__(self) -> FakeMongoClient:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def get_database(self, name: str) -> FakeMongoClient:
        self.path.append(name)
        return self

    get_collection = get_database

    def find_one(self, query: dict[str, Any], **_: Any) -> dict[str, Any] | None:
        assert self.path == ["jobs", "level-2"]
        wanted = query["jobId"]["$in"]
        same = ((type(one["jobId"]), one["jobId"]) for one in self.documents)
        keys = [(type(value), value) for value in wanted]
        return next((one for one, key in zip(self.documents, same, strict=True) if key in keys), None)

    def find(self, *_: Any, limit: int, **__: Any) -> list[dict[str, Any]]:
        return self.documents[:limit]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> type[FakeMongoClient]:
    monkeypatch.setattr(pymongo, "MongoClient", FakeMongoClient)
    monkeypatch.setattr(FakeMongoClient, "documents", [])
    return FakeMongoClient


@pytest.mark.parametrize("stored", [4711, "4711"])
def test_mongodb_matches_the_job_id_as_number_and_text(database, stored):
    database.documents = [{"jobId": stored, "role": "Engineer"}]
    assert load_posting("4711", settings_for(MONGODB_URI="mongodb://h")).title == "Engineer"
    assert database.options["serverSelectionTimeoutMS"] == 10_000


def test_mongodb_lists_existing_postings(database):
    database.documents = [{"jobId": number} for number in range(10, 30)]
    with pytest.raises(PostingNotFoundError, match=r"MongoDB, jobs\.level-2\. Existing postings: 10, .*, 19 and more"):
        load_posting("9" * 40, settings_for(MONGODB_URI="mongodb://h"))


def test_database_error_is_reported(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise pymongo.errors.ServerSelectionTimeoutError

    monkeypatch.setattr(pymongo, "MongoClient", refuse)
    with pytest.raises(PostingsUnreachableError):
        load_posting("1", settings_for(MONGODB_URI="mongodb://h"))


def test_listed_requirements_come_first():
    assert requirements_of(posting(description="Requirements:\n- Go", requirements=["Python", "Python"])) == ["Python"]


@pytest.mark.parametrize("heading", ["What you bring:", "## Requirements", "Ihr Profil", "Das bringst du mit"])
def test_bullets_under_a_requirements_heading_are_requirements(heading):
    text = f"Tasks\n- Run things\n\n{heading}\n- Python\n• Go\n3. Rust\n\nWe offer\n- Cake\n"
    assert requirements_of(posting(description=text)) == ["Python", "Go", "Rust"]


def test_offers_are_left_out_without_a_requirements_heading():
    assert requirements_of(posting(description="Tasks\n- Run things\nWe offer:\n- Cake")) == ["Run things"]


def test_sentences_that_ask_are_requirements_in_prose():
    text = "We are nice. You must know Python. Lunch is free."
    assert requirements_of(posting(description=text)) == ["You must know Python."]
