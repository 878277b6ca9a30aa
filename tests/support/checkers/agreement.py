"""Agreement: a run has one outcome, and it is the same in every store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from checkers.findings import Finding
from checkers.records import ARCHIVE, ITEM, TERMINAL, Document, OutcomeFault, RunRecords

FIELDS = ("status", "reason", "exit_code", "message", "completed_at")
TIMES = frozenset({"completed_at", "pipeline_run_at", "pipeline_completed_at"})
REASON_OF_STATUS = {"completed": "Completed", "cancelled": "Cancelled"}


def agreement_faults(records: RunRecords) -> Iterator[Finding]:
    """Compare the stores with the archive, and the work item with the run."""
    outcome = records.outcome
    if outcome is None:
        statuses = {store: document and document.get("status") for store, document in records.documents.items()}
        yield records.finding(OutcomeFault.NO_OUTCOME, f"{statuses}")
        return
    yield from _status_faults(records, outcome)
    for store, document in records.documents.items():
        if document is None:
            yield records.finding(OutcomeFault.MISSING_RECORD, store)
            continue
        for field in FIELDS:
            if not _same(field, document.get(field), outcome.get(field)):
                yield records.finding(
                    OutcomeFault.FIELD_DIFFERS,
                    f"{field}: {store} {document.get(field)!r}, {ARCHIVE} {outcome.get(field)!r}",
                )
    if ITEM not in records.unused:
        yield from _item_faults(records, outcome)


def _status_faults(records: RunRecords, outcome: Document) -> Iterator[Finding]:
    outcomes = {
        (document["status"], document.get("reason"), document.get("exit_code"))
        for document in records.documents.values()
        if document is not None and document["status"] in TERMINAL
    }
    if len(outcomes) > 1:
        yield records.finding(OutcomeFault.MANY_OUTCOMES, f"{sorted(outcomes, key=repr)}")
    status, reason = outcome["status"], outcome.get("reason")
    expected = REASON_OF_STATUS.get(status)
    if not reason or (expected and reason != expected) or (not expected and reason in REASON_OF_STATUS.values()):
        yield records.finding(OutcomeFault.STATUS_AND_REASON, f"{status}, {reason}")


def _item_faults(records: RunRecords, outcome: Document) -> Iterator[Finding]:
    if records.item is None:
        yield records.finding(OutcomeFault.MISSING_RECORD, ITEM)
        return
    expected = {
        "pipeline_run_id": records.run_id,
        "pipeline_status": outcome["status"],
        "pipeline_run_at": outcome.get("created_at"),
        "pipeline_completed_at": outcome.get("completed_at"),
    }
    if records.rest is not None:
        expected["artifact_urls"] = records.rest.get("artifacts")  # the archive holds paths, not URLs
    for field, value in expected.items():
        found = records.item.get(field)
        if not _same(field, found, value, milliseconds=True):
            yield records.finding(OutcomeFault.ITEM_DIFFERS, f"{field}: {found!r}, the run has {value!r}")


def _same(field: str, one: Any, other: Any, *, milliseconds: bool = False) -> bool:
    if field not in TIMES or one is None or other is None:
        return bool(one == other)
    return _moment(one, milliseconds) == _moment(other, milliseconds)


def _moment(value: str | datetime, milliseconds: bool) -> datetime:
    """Read a time; BSON's are UTC without a time zone, in milliseconds."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000) if milliseconds else moment
