"""The items of a bulk request: each is read for itself, and a bad one refuses itself alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from launcher.api.problems import problem
from launcher.api.schemas import MAX_JOB_ID, BulkJob

_MOST_FAULTS = 5


@dataclass(frozen=True)
class Wanted:
    """An item that asks for a run, under a key where one was given."""

    job_id: str
    key: str | None


@dataclass(frozen=True)
class Refused:
    """An item that asks for none, and why."""

    job_id: str | int | None
    problem: dict[str, Any]


def items_of(asked: Sequence[Any], key: str | None) -> list[Wanted | Refused]:
    """Return what each item asks for, in order.

    An item's own key counts as `POST /jobs/run` takes it. The others share the request's `key`, each by its job_id,
    which therefore counts once.
    """
    items: list[Wanted | Refused] = []
    first_at: dict[str, int] = {}
    for index, each in enumerate(asked):
        try:
            item = BulkJob.model_validate(each if isinstance(each, dict) else {"job_id": each})
        except ValidationError as exc:
            items.append(Refused(_echo(each), problem(422, f"job_ids.{index}: {_faults(each, exc)}")))
            continue
        if item.idempotency_key is not None:
            items.append(Wanted(item.job_id, item.idempotency_key))
        elif (first := first_at.setdefault(item.job_id, index)) == index:
            # no key of an item has a line feed, so none can be this one
            items.append(Wanted(item.job_id, key and f"{key}\n{item.job_id}"))
        else:
            text = f"job_ids.{index}: the same as job_ids.{first}; it is launched once."
            items.append(Refused(item.job_id, problem(409, text)))
    return items


def _faults(item: Any, error: ValidationError) -> str:
    texts = []
    for fault in error.errors()[:_MOST_FAULTS]:
        where = fault["loc"] if isinstance(item, dict) else ()
        texts.append(": ".join([*(_bounded(str(part)) for part in where), fault["msg"]]))
    return "; ".join(texts)


def _echo(item: Any) -> str | int | None:
    """Return a refused item so that its sender knows it again, and no hostile one breaks or swells the answer."""
    match item.get("job_id") if isinstance(item, dict) else item:
        case str() as text:
            return _bounded(text)
        case int() as number if abs(number) < 2**53:
            return number
        case _:
            return None


def _bounded(text: str) -> str:
    return text[:MAX_JOB_ID].encode("utf-8", "replace").decode()
