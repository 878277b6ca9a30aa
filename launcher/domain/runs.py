"""The run: one launch of a pipeline, its legal transitions, and its outcome, which is written once.

A `Run` is a value. `started`, `ended` and their like return the next one with `revision` one higher; `supersedes`
decides whether a store may replace what it holds. Terminal states never change.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, TypeAdapter

from launcher.domain.errors import IdempotencyConflict, IllegalTransition
from launcher.domain.log_lines import Receipt
from launcher.domain.text import clean_json, clean_text


class RunStatus(StrEnum):
    """The state of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a run with this status has ended."""
        return self in TERMINAL


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.RUNNING: TERMINAL,
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


def now() -> datetime:
    """Return the current time in UTC, in microseconds."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended: a terminal status, a reason (a `Reason`, or a code of the pipeline's own), a sentence, the exit
    code (None: there was no process)."""

    status: RunStatus
    reason: str
    message: str
    exit_code: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One launch of a pipeline for a job_id. Times are UTC; `revision` counts the changes, from 1."""

    run_id: str
    job_id: str
    profile_ref: str | None = None
    pipeline: str = "default"
    params: Annotated[Mapping[str, Any], AfterValidator(clean_json)] = field(default_factory=dict)
    priority: int = 0
    timeout_seconds: int = 600
    status: RunStatus = RunStatus.QUEUED
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    completed_at: AwareDatetime | None = None
    updated_at: AwareDatetime
    cancel_requested: bool = False
    waiting_for: str | None = None
    """What a queued run that has its slot is still waiting for, in words."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Key (`cv_md_url`) to path below the run's artifact folder."""
    log: Receipt = field(default_factory=Receipt)
    revision: int = 1
    idempotency_hash: str | None = None
    request_hash: str = ""

    def started(self, at: datetime) -> Run:
        """Return the run as running since `at`."""
        return self._moved(RunStatus.RUNNING, at, started_at=at, waiting_for=None)

    def waiting(self, why: str, at: datetime) -> Run:
        """Return the queued run with what it is waiting for now."""
        return self._changed(at, waiting_for=clean_text(why))

    def cancelling(self, at: datetime) -> Run:
        """Return the run with the request to cancel it."""
        if self.status.terminal:
            raise IllegalTransition(f"{self.run_id} is {self.status} already")
        return self._changed(at, cancel_requested=True)

    def ended(self, outcome: Outcome, at: datetime, log: Receipt, artifacts: Mapping[str, str] | None = None) -> Run:
        """Return the run with its one outcome, its log's receipt and its artifacts."""
        return self._moved(
            outcome.status,
            at,
            completed_at=at,
            waiting_for=None,
            reason=str(outcome.reason),
            message=outcome.message,
            exit_code=outcome.exit_code,
            log=log,
            artifacts=dict(artifacts or {}),
        )

    def following(self, kept: Run) -> Run:
        """Return the run as the next state after one that was recorded meanwhile."""
        return dataclasses.replace(self, revision=kept.revision + 1, cancel_requested=kept.cancel_requested)

    def bare(self) -> Run:
        """Return the run without data from outside, for when its record cannot be written otherwise."""
        message = (self.message or "").encode("ascii", "backslashreplace").decode()
        message = f"{message} Its files could not be recorded.".strip()
        return dataclasses.replace(self, params={}, artifacts={}, waiting_for=None, message=message)

    def _moved(self, status: RunStatus, at: datetime, **changes: Any) -> Run:
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"{self.run_id} is {self.status}: it cannot become {status}")
        return self._changed(at, status=status, **changes)

    def _changed(self, at: datetime, **changes: Any) -> Run:
        return dataclasses.replace(self, updated_at=at, revision=self.revision + 1, **changes)

    def to_document(self) -> dict[str, Any]:
        """Return the run as JSON-ready values; times are RFC 3339 strings."""
        document: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return document

    def to_json(self) -> bytes:
        """Return the run as one line of JSON."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Run:
        """Read what `to_document` returned, and clean its texts; unknown fields are ignored. Raises `ValueError`."""
        return _ADAPTER.validate_python(clean_json(document))

    @classmethod
    def from_json(cls, text: bytes | str) -> Run:
        """Read what `to_json` returned, and clean its texts. Raises `ValueError` if it is not a run."""
        try:
            return _ADAPTER.validate_json(text)
        except ValueError:  # half of a surrogate pair, which Python's own parser lets pass, or not a run
            return cls.from_document(_object(text))


_ADAPTER = TypeAdapter(Run)


def _object(text: bytes | str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def supersedes(new: Run, stored: Run | None) -> bool:
    """Say whether `new` may replace `stored`: if it is later, and `stored` has not ended."""
    return stored is None or (not stored.status.terminal and new.revision > stored.revision)


def newest(run: Run, other: Run | None) -> Run:
    """Return whichever state of a run is the later one."""
    return other if other is not None and other.revision > run.revision else run


def require_same_request(requested: Run, existing: Run) -> Run:
    """Return the existing run. Raises `IdempotencyConflict` if a different request launched it."""
    if existing.request_hash != requested.request_hash:
        raise IdempotencyConflict
    return existing
