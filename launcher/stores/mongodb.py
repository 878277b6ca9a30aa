"""MongoDB: the history (`pipeline_runs`, one document per run) and the work items (`level-2`), in database `jobs`."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from pymongo import DESCENDING, AsyncMongoClient, MongoClient
from pymongo.errors import DuplicateKeyError, PyMongoError, WriteError

from launcher.domain.days import StatusCounts
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import TERMINAL, Run, RunStatus
from launcher.stores.ports import RunQuery, work_item_fields

log = logging.getLogger(__name__)
DATABASE = "jobs"
_TIMEOUT_MS = 5000
_SRV = re.compile(r"mongodb\+srv://")
_SRV_OPTION = re.compile(r"(?<=[?&])srv\w+=[^&]*&?", re.IGNORECASE)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")  # an integer's own form
_INT64 = range(-(2**63), 2**63)  # the range of MongoDB's integers
_ENDED = sorted(str(status) for status in TERMINAL)

Client = AsyncMongoClient[dict[str, Any]]


def fault_of(name: str, uri: str) -> str | None:
    """Return why PyMongo rejects a URI that is otherwise valid. Makes no DNS query and quotes nothing from the URI."""
    try:  # for mongodb+srv:// the hosts come from DNS, so only the options are checked
        plain = _SRV.sub("mongodb://", _SRV_OPTION.sub("", uri)) if _SRV.match(uri) else uri
        MongoClient[Any](plain, connect=False).close()  # parsing alone finds no contradictions
    except (PyMongoError, ValueError, OSError):
        return f"{name}: the MongoDB driver rejects the user name, the password or an option after the '?'. Correct it."
    return None


def connect(uri: str) -> Client:
    """Return a client that connects on first use."""
    return AsyncMongoClient(
        uri,
        serverSelectionTimeoutMS=_TIMEOUT_MS,
        connectTimeoutMS=_TIMEOUT_MS,
        socketTimeoutMS=_TIMEOUT_MS,
        tz_aware=True,
        unicode_decode_error_handler="replace",  # otherwise one bad text makes a whole list unreadable
    )


class MongoRunStore:
    """A `RunStore` in `pipeline_runs`; times are RFC 3339 strings, exact to the microsecond and sortable."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._runs = client[DATABASE]["pipeline_runs"]

    async def put(self, run: Run) -> bool:
        """See `RunStore`."""
        document = {"_id": run.run_id, **run.to_document()}
        older = {"_id": run.run_id, "revision": {"$lt": run.revision}, "status": {"$nin": _ENDED}}
        async with _unavailable():
            try:
                answer = await self._runs.replace_one(older, document, upsert=True)
            except DuplicateKeyError:  # it exists and is not older: the upsert became an insert
                return False
        return bool(answer.modified_count or answer.upserted_id)

    async def get(self, run_id: str) -> Run | None:
        """See `RunStore`."""
        async with _unavailable():
            document = await self._runs.find_one({"_id": run_id})
        return _run_of(document) if document else None

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """See `RunStore`."""
        asked = {"job_id": query.job_id, "status": query.status and str(query.status), "pipeline": query.pipeline}
        selector = {name: value for name, value in asked.items() if value is not None}
        async with _unavailable():
            total = await self._runs.count_documents(selector)
            cursor = self._runs.find(selector).sort([("created_at", DESCENDING), ("_id", DESCENDING)])
            documents = await cursor.skip((query.page - 1) * query.per_page).limit(query.per_page).to_list()
        return [run for document in documents if (run := _run_of(document))], total

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """See `RunStore`."""
        # Without fraction and Z: such a text sorts before all that begin with it, and "08:00:00.5Z" before "08:00:00Z".
        texts = [f"{edge.astimezone(UTC):%Y-%m-%dT%H:%M:%S}" for edge in edges]
        statuses = {str(status): {"$sum": {"$cond": [{"$eq": ["$status", str(status)]}, 1, 0]}} for status in RunStatus}
        async with _unavailable():
            cursor = await self._runs.aggregate(
                [
                    {"$match": {"created_at": {"$gte": texts[0], "$lt": texts[-1]}}},
                    {"$bucket": {"groupBy": "$created_at", "boundaries": texts, "output": statuses}},
                ]
            )
            found = {bucket["_id"]: bucket for bucket in await cursor.to_list()}
        return [{status: found.get(text, {}).get(str(status), 0) for status in RunStatus} for text in texts[:-1]]

    async def revisions(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """See `RunStore`."""
        async with _unavailable():
            found = await self._runs.find({"_id": {"$in": list(run_ids)}}, {"revision": 1}).to_list()
        return {
            document["_id"]: document["revision"] for document in found if isinstance(document.get("revision"), int)
        }

    async def delete_ended_before(self, moment: datetime) -> int:
        """See `RunStore`."""
        text = moment.isoformat().replace("+00:00", "Z")
        async with _unavailable():
            answer = await self._runs.delete_many({"status": {"$in": _ENDED}, "completed_at": {"$lt": text}})
        return answer.deleted_count

    async def ping(self) -> None:
        """See `RunStore`."""
        async with _unavailable():
            await self._client.admin.command("ping")


class MongoWorkItems:
    """A `WorkItems` over `level-2`, matched by `jobId` as int or as str."""

    def __init__(self, client: Client) -> None:
        self._items = client[DATABASE]["level-2"]

    async def mark(self, run: Run, artifact_urls: Mapping[str, str]) -> bool:
        """See `WorkItems`."""
        created_at = run.created_at.replace(microsecond=run.created_at.microsecond // 1000 * 1000)  # BSON: milliseconds
        mine = {"pipeline_run_id": run.run_id, "pipeline_status": {"$nin": _ENDED}}
        free = {"pipeline_run_id": None}  # null or missing
        older = {"pipeline_run_id": {"$ne": run.run_id}, "pipeline_run_at": {"$lt": created_at}}
        undated = {"pipeline_run_id": {"$ne": run.run_id}, "pipeline_run_at": None}
        same = {"pipeline_run_at": created_at, "pipeline_run_id": {"$lt": run.run_id}}
        selector = {"jobId": {"$in": _ids(run.job_id)}, "$or": [mine, free, older, undated, same]}
        async with _unavailable():
            answer = await self._items.update_one(selector, {"$set": work_item_fields(run, artifact_urls)})
        return answer.matched_count > 0


def _ids(job_id: str) -> list[str | int]:
    """Return what a job_id can be in MongoDB: the text and, if it is a decimal integer, that integer."""
    number = int(job_id) if _INTEGER.fullmatch(job_id) else None
    return [job_id] if number is None or number not in _INT64 else [job_id, number]


def _run_of(document: Mapping[str, Any]) -> Run | None:
    try:
        return Run.from_document(document)
    except ValueError as exc:  # written by a newer version or by hand: it counts as missing
        log.error("the record of run %s in MongoDB cannot be read: %s", document.get("_id"), exc)
        return None


@asynccontextmanager
async def _unavailable() -> AsyncIterator[None]:
    try:
        yield
    except WriteError:  # the server answers, but refuses this one document
        raise
    except (PyMongoError, OSError) as exc:
        raise StoreUnavailable(f"MongoDB does not answer: {type(exc).__name__}") from exc
