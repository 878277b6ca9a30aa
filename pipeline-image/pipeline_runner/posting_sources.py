"""Sources of postings: a folder of JSON files, or MongoDB."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_runner.errors import PostingNotFoundError, PostingsUnreachableError, PostingUnreadableError
from pipeline_runner.postings import Posting, id_text, posting_from
from pipeline_runner.settings import Settings
from pipeline_runner.text import one_line

if TYPE_CHECKING:
    from pymongo.collection import Collection

DATABASE = "jobs"
COLLECTION = "level-2"
SERVER_SELECTION_TIMEOUT_MS = 10_000
MAX_IDS_NAMED = 10
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")  # the canonical form of an integer
_INT64 = range(-(2**63), 2**63)  # the range of MongoDB's integers


def load_posting(job_id: str, settings: Settings) -> Posting:
    """Find the posting of a job.

    Raises:
        PostingNotFoundError: No posting has this id.
        PostingUnreadableError: The file is not a JSON object.
        PostingsUnreachableError: MongoDB does not respond.
    """
    if settings.mongodb_uri:
        return _from_mongodb(job_id, settings.mongodb_uri)
    return _from_folder(job_id, settings.postings_dir)


def _from_folder(job_id: str, folder: Path) -> Posting:
    # The id is compared with existing names and never becomes part of a path.
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    named = next((path for path in paths if path.name == f"{job_id}.json"), None)
    if named:
        return posting_from(_read(named), job_id=job_id, source=f"file {named.name}")
    ids = []
    for path in paths:
        try:
            document = _read(path)
        except (PostingUnreadableError, OSError):
            continue  # another job's invalid file must not fail this one
        found = id_text(document.get("jobId"))
        if found == job_id:
            return posting_from(document, job_id=job_id, source=f"file {path.name}")
        ids.append(found or path.stem)
    place = f"the folder {folder}" + ("" if folder.is_dir() else ", which does not exist (see POSTINGS_DIR)")
    raise _not_found(job_id, place, ids)


def _read(path: Path) -> Mapping[str, object]:
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        msg = f"The posting {path} is not valid JSON in UTF-8."
        raise PostingUnreadableError(msg) from exc
    if not isinstance(document, dict):
        msg = f"The posting {path} must be a JSON object with the fields of the posting."
        raise PostingUnreadableError(msg)
    return document


def _from_mongodb(job_id: str, uri: str) -> Posting:
    # Imported here, so that runs from files need not load the driver.
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    client: MongoClient[dict[str, object]]
    try:
        with MongoClient(
            uri, serverSelectionTimeoutMS=SERVER_SELECTION_TIMEOUT_MS, unicode_decode_error_handler="replace"
        ) as client:
            postings: Collection[dict[str, object]] = client.get_database(DATABASE).get_collection(COLLECTION)
            document = postings.find_one({"jobId": {"$in": _ids(job_id)}}, sort=[("_id", 1)])
            ids = [] if document is not None else _some_ids(postings)
    except (PyMongoError, ValueError) as exc:  # ValueError: the port in the URI is not a number
        msg = "MongoDB is not responding. Check MONGODB_URI, and that this host is allowed to connect."
        raise PostingsUnreachableError(msg) from exc
    place = f"MongoDB, {DATABASE}.{COLLECTION}"
    if document is None:
        raise _not_found(job_id, place, ids)
    return posting_from(document, job_id=job_id, source=place)


def _ids(job_id: str) -> list[str | int]:
    """Return the values that a ``jobId`` can have in MongoDB: the text, and the integer that it represents."""
    number = int(job_id) if _INTEGER.fullmatch(job_id) else None
    return [job_id] if number is None or number not in _INT64 else [job_id, number]


def _some_ids(postings: Collection[dict[str, object]]) -> list[str]:
    found = postings.find({}, {"jobId": 1}, sort=[("_id", 1)], limit=MAX_IDS_NAMED + 1)
    return [id_text(document.get("jobId")) for document in found]


def _not_found(job_id: str, place: str, ids: Iterable[str]) -> PostingNotFoundError:
    known = sorted(filter(None, map(one_line, ids)))
    existing = ", ".join(known[:MAX_IDS_NAMED]) + (" and more" if len(known) > MAX_IDS_NAMED else "")
    return PostingNotFoundError(
        f"Posting {one_line(job_id)!r} not found in {place}. "
        + (f"Existing postings: {existing}." if known else "It has no postings.")
    )
