"""The postings: MongoDB's `jobs.level-2`, or in development a folder of JSON files, behind one interface."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from pymongo import DESCENDING, MongoClient
from pymongo.errors import PyMongoError

from frontend.last_run import LastRun
from frontend.messages import STATUSES

NEW = "new"
MOST_SIGNS = 300  # of a title, on the page
_TIMEOUT_MS = 5000
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")  # an integer's own form
_INT64 = range(-(2**63), 2**63)  # what MongoDB's integers can hold
_HALF_SIGN = re.compile("[\ud800-\udfff]")  # JSON can hold half a surrogate pair, which no page can show
_SEARCHED = ("title", "role", "company", "location")
_FIELDS = ("jobId", *_SEARCHED, "url", "jobUrl", "pipeline_run_id", "pipeline_status")


class PostingsUnavailable(Exception):
    """The postings cannot be had; the message says what to do."""


@dataclass(frozen=True)
class Posting:
    """One posting. Texts are cut to what a page shows, and empty where it says nothing; `url` leads to the web."""

    job_id: str
    title: str
    company: str
    location: str
    url: str
    last_run: LastRun


@dataclass(frozen=True)
class PostingQuery:
    """Which postings: each word of `text` occurs in one of its texts or is its job_id.

    `status` is that of a run, or `new`; empty means any.
    """

    text: str = ""
    status: str = ""
    page: int = 1
    per_page: int = 25


class Postings(Protocol):
    """Where postings come from."""

    def find(self, query: PostingQuery) -> tuple[list[Posting], int]:
        """Return one page, and how many there are in all; raises `PostingsUnavailable`."""

    def close(self) -> None:
        """Let go of what is open."""


def posting_of(document: Mapping[str, Any]) -> Posting:
    """Make a posting of a document, whatever its fields hold."""

    def line(*names: str) -> str:
        texts = (" ".join(_text(document.get(name))[: 4 * MOST_SIGNS].split()) for name in names)
        return next(filter(None, texts), "")[:MOST_SIGNS]

    url = line("url", "jobUrl")
    status = document.get("pipeline_status")
    run_id = document.get("pipeline_run_id")
    known = isinstance(run_id, str) and run_id and status in STATUSES
    return Posting(
        job_id=_id_text(document.get("jobId")),
        title=line("title", "role"),
        company=line("company"),
        location=line("location"),
        url=url if url.startswith(("https://", "http://")) else "",
        last_run=LastRun(str(run_id), str(status)) if known else LastRun(),
    )


LastRuns = Callable[[], Mapping[str, LastRun] | None]
"""Each job's newest run; None while nobody knows."""


def open_postings(environment: Mapping[str, str], last_runs: LastRuns) -> Postings:
    """Return the postings that the environment names: MONGODB_URI's, else POSTINGS_DIR's."""
    if uri := environment.get("MONGODB_URI", ""):
        return PostingsInMongoDB(uri)
    return PostingsInFolder(environment.get("POSTINGS_DIR", ""), last_runs)


class PostingsInMongoDB:
    """The collection `jobs.level-2`, newest first."""

    def __init__(self, uri: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            connect=False,
            serverSelectionTimeoutMS=_TIMEOUT_MS,
            socketTimeoutMS=2 * _TIMEOUT_MS,
            unicode_decode_error_handler="replace",  # else one bad text makes a whole page unreadable
        )
        self._collection = self._client["jobs"]["level-2"]

    def find(self, query: PostingQuery) -> tuple[list[Posting], int]:
        """As the protocol says."""
        selector = _selector(query)
        try:
            total = self._collection.count_documents(selector, maxTimeMS=_TIMEOUT_MS)
            found = self._collection.find(selector, dict.fromkeys(_FIELDS, 1), max_time_ms=_TIMEOUT_MS)
            page = found.sort("_id", DESCENDING).skip((query.page - 1) * query.per_page).limit(query.per_page)
            return [posting_of(document) for document in page], total
        except PyMongoError as exc:
            message = "MongoDB does not answer. Check MONGODB_URI, and whether this host may connect."
            raise PostingsUnavailable(message) from exc

    def close(self) -> None:
        """As the protocol says."""
        self._client.close()


def _selector(query: PostingQuery) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for word in query.text.replace("\0", " ").split():
        fields: list[dict[str, Any]] = [{name: {"$regex": re.escape(word), "$options": "i"}} for name in _SEARCHED]
        parts.append({"$or": [*fields, {"jobId": {"$in": _ids(word)}}]})
    if query.status == NEW:
        parts.append({"pipeline_status": {"$nin": list(STATUSES)}})
    elif query.status:
        parts.append({"pipeline_status": query.status})
    return {"$and": parts} if parts else {}


def _ids(word: str) -> list[str | int]:
    """Return what a `jobId` of this text can be in MongoDB: the text, and the integer whose decimal form it is."""
    number = int(word) if _INTEGER.fullmatch(word) else None
    return [word] if number is None or number not in _INT64 else [word, number]


class PostingsInFolder:
    """A folder of JSON files; `last_runs` says what nobody writes into them: each job's newest run."""

    def __init__(self, folder: str, last_runs: LastRuns = dict) -> None:
        self._folder, self._last_runs = folder, last_runs

    def find(self, query: PostingQuery) -> tuple[list[Posting], int]:
        """As the protocol says."""
        if not self._folder:
            raise PostingsUnavailable("Nothing says where postings are. Set MONGODB_URI, or POSTINGS_DIR to try it.")
        folder = Path(self._folder)
        if not folder.is_dir():
            raise PostingsUnavailable(f"There is no folder {folder}. Set POSTINGS_DIR, or MONGODB_URI.")
        runs = self._last_runs()
        if runs is None and query.status:
            raise PostingsUnavailable(
                "The launcher does not say which runs there are. Show all statuses, or try again."
            )
        documents = map(_document, sorted(folder.glob("*.json")))
        there = [posting_of(document) for document in documents if document is not None]
        postings = [replace(each, last_run=(runs or {}).get(each.job_id, each.last_run)) for each in there]
        fitting = [posting for posting in postings if _fits(posting, query)]
        start = (query.page - 1) * query.per_page
        return fitting[start : start + query.per_page], len(fitting)

    def close(self) -> None:
        """As the protocol says."""


def _fits(posting: Posting, query: PostingQuery) -> bool:
    text = "\n".join((posting.title, posting.company, posting.location)).lower()
    status = posting.last_run.status or NEW
    words = query.text.replace("\0", " ").split()
    return query.status in ("", status) and all(word == posting.job_id or word.lower() in text for word in words)


def _document(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None  # one broken file hides no other
    return document if isinstance(document, dict) else None


def _id_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return "" if _HALF_SIGN.search(text) else text


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    return _HALF_SIGN.sub("\N{REPLACEMENT CHARACTER}", text)
