"""The postings behind one interface: MongoDB's `jobs.level-2`, or in development a folder of JSON files."""

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
MAX_CHARACTERS = 300  # of a text on the page
_TIMEOUT_MS = 5000
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")  # the canonical form of an integer
_INT64 = range(-(2**63), 2**63)  # the range of MongoDB's integers
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can contain a lone surrogate, which UTF-8 cannot encode
_SEARCHED = ("title", "role", "company", "location")
_FIELDS = ("jobId", *_SEARCHED, "url", "jobUrl", "pipeline_run_id", "pipeline_status")


class PostingsUnavailable(Exception):
    """The postings are unavailable; the message says what to do."""


@dataclass(frozen=True)
class Posting:
    """One posting. Texts are truncated for display, and empty if missing; `url` is an http or https URL."""

    job_id: str
    title: str
    company: str
    location: str
    url: str
    last_run: LastRun


@dataclass(frozen=True)
class PostingQuery:
    """A search for postings: each word of `text` occurs in one of its texts or is its job_id.

    `status` is the status of its newest run, or `new` if it has none; empty means any.
    """

    text: str = ""
    status: str = ""
    page: int = 1
    per_page: int = 25


class Postings(Protocol):
    """A source of postings."""

    def find(self, query: PostingQuery) -> tuple[list[Posting], int]:
        """Return one page, and the total number of matches; raises `PostingsUnavailable`."""

    def close(self) -> None:
        """Close open connections."""


def posting_of(document: Mapping[str, Any]) -> Posting:
    """Convert a document to a posting, whatever its fields contain."""

    def line(*names: str) -> str:
        texts = (" ".join(_text(document.get(name))[: 4 * MAX_CHARACTERS].split()) for name in names)
        return next(filter(None, texts), "")[:MAX_CHARACTERS]

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
"""Returns each job's newest run; None while the launcher is unavailable."""


def open_postings(environment: Mapping[str, str], last_runs: LastRuns) -> Postings:
    """Return the source that the environment configures: MONGODB_URI, else POSTINGS_DIR."""
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
            unicode_decode_error_handler="replace",  # else one invalid text breaks a whole page
        )
        self._collection = self._client["jobs"]["level-2"]

    def find(self, query: PostingQuery) -> tuple[list[Posting], int]:
        """See `Postings`."""
        selector = _selector(query)
        try:
            total = self._collection.count_documents(selector, maxTimeMS=_TIMEOUT_MS)
            found = self._collection.find(selector, dict.fromkeys(_FIELDS, 1), max_time_ms=_TIMEOUT_MS)
            page = found.sort("_id", DESCENDING).skip((query.page - 1) * query.per_page).limit(query.per_page)
            return [posting_of(document) for document in page], total
        except PyMongoError as exc:
            message = "MongoDB is not responding. Check MONGODB_URI, and that this host is allowed to connect."
            raise PostingsUnavailable(message) from exc

    def close(self) -> None:
        """See `Postings`."""
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
    """Return the values that a `jobId` can have in MongoDB: the text, and the integer that it represents."""
    number = int(word) if _INTEGER.fullmatch(word) else None
    return [word] if number is None or number not in _INT64 else [word, number]


class PostingsInFolder:
    """A folder of JSON files; each job's newest run comes from `last_runs`, as nothing writes it to the files."""

    def __init__(self, folder: str, last_runs: LastRuns = dict) -> None:
        self._folder, self._last_runs = folder, last_runs

    def find(self, query: PostingQuery) -> tuple[list[Posting], int]:
        """See `Postings`."""
        if not self._folder:
            raise PostingsUnavailable(
                "No source of postings is configured. Set MONGODB_URI, or POSTINGS_DIR for a local folder."
            )
        folder = Path(self._folder)
        if not folder.is_dir():
            raise PostingsUnavailable(f"The folder {folder} does not exist. Correct POSTINGS_DIR, or set MONGODB_URI.")
        runs = self._last_runs()
        if runs is None and query.status:
            raise PostingsUnavailable(
                "Filtering by status needs the launcher, which is unavailable. Show all statuses, or try again."
            )
        documents = map(_document, sorted(folder.glob("*.json")))
        found = [posting_of(document) for document in documents if document is not None]
        postings = [replace(each, last_run=(runs or {}).get(each.job_id, each.last_run)) for each in found]
        matches = [posting for posting in postings if _matches(posting, query)]
        start = (query.page - 1) * query.per_page
        return matches[start : start + query.per_page], len(matches)

    def close(self) -> None:
        """See `Postings`."""


def _matches(posting: Posting, query: PostingQuery) -> bool:
    text = "\n".join((posting.title, posting.company, posting.location)).lower()
    status = posting.last_run.status or NEW
    words = query.text.replace("\0", " ").split()
    return query.status in ("", status) and all(word == posting.job_id or word.lower() in text for word in words)


def _document(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None  # skip an invalid file, show the others
    return document if isinstance(document, dict) else None


def _id_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return "" if _SURROGATE.search(text) else text


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
