"""The items of a bulk request. Each is validated separately: an invalid item does not affect the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from launcher.api.problems import problem
from launcher.api.schemas import MAX_JOB_ID, BulkJob
from launcher.validation_errors import in_words

_MAX_ERRORS = 5


@dataclass(frozen=True)
class ValidItem:
    """A valid item, with its idempotency key if it has one."""

    job_id: str
    key: str | None


@dataclass(frozen=True)
class RejectedItem:
    """An invalid item, with the problem to report."""

    job_id: str | int | None
    problem: dict[str, Any]


def parse_items(entries: Sequence[Any], key: str | None) -> list[ValidItem | RejectedItem]:
    """Validate the items, in order.

    An item's own key works as the header of `POST /jobs/run` does. Items without one combine the request's `key` with
    their job_id, so each of these job_ids is launched once.
    """
    items: list[ValidItem | RejectedItem] = []
    first_at: dict[str, int] = {}
    for index, entry in enumerate(entries):
        try:
            item = BulkJob.model_validate(entry if isinstance(entry, dict) else {"job_id": entry})
        except ValidationError as exc:
            items.append(RejectedItem(_echo(entry), problem(422, f"job_ids.{index}: {_errors(entry, exc)}")))
            continue
        if item.idempotency_key is not None:
            items.append(ValidItem(item.job_id, item.idempotency_key))
        elif (first := first_at.setdefault(item.job_id, index)) == index:
            # an item's own key cannot contain a line feed, so it never equals this one
            items.append(ValidItem(item.job_id, key and f"{key}\n{item.job_id}"))
        else:
            text = f"job_ids.{index}: duplicate of job_ids.{first}, which is launched once."
            items.append(RejectedItem(item.job_id, problem(409, text)))
    return items


def _errors(item: Any, error: ValidationError) -> str:
    texts = []
    for found in error.errors()[:_MAX_ERRORS]:
        where = found["loc"] if isinstance(item, dict) else ()
        texts.append(": ".join([*(_truncated(str(part)) for part in where), in_words(found)]))
    return "; ".join(texts)


def _echo(item: Any) -> str | int | None:
    """Return an invalid item's job_id for its sender to recognize, safe and short enough to be sent back."""
    match item.get("job_id") if isinstance(item, dict) else item:
        case str() as text:
            return _truncated(text)
        case int() as number if abs(number) < 2**53:
            return number
        case _:
            return None


def _truncated(text: str) -> str:
    return text[:MAX_JOB_ID].encode("utf-8", "replace").decode()
