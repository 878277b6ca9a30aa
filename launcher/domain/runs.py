"""The run: one launch of a pipeline, its legal transitions, and its outcome, which is written once.

A `Run` is a value. Methods such as `started` and `finished` return the next state, with the next `revision`. A store
replaces a state only if the new one `supersedes` it. Terminal states never change.
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
        """Whether a run with this status has finished."""
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
    """How a run finished: its terminal status, reason code, sentence and exit code.

    The code is a `Reason` or one that the pipeline defines. Without a process there is no exit code.
    """

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
    """What a queued run with a slot is waiting for, as a sentence."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Maps a key such as `cv_md_url` to a path below the run's artifact folder."""
    log: Receipt = field(default_factory=Receipt)
    revision: int = 1
    idempotency_hash: str | None = None
    request_hash: str = ""

    def started(self, at: datetime) -> Run:
        """Return the run as running since `at`."""
        return self._moved(RunStatus.RUNNING, at, started_at=at, waiting_for=None)

    def waiting(self, why: str, at: datetime) -> Run:
        """Return the queued run with what it is waiting for."""
        return self._changed(at, waiting_for=clean_text(why))

    def cancelling(self, at: datetime) -> Run:
        """Return the run with cancellation requested."""
        if self.status.terminal:
            raise IllegalTransition(f"{self.run_id} is already {self.status}")
        return self._changed(at, cancel_requested=True)

    def finished(self, outcome: Outcome, at: datetime, log: Receipt, artifacts: Mapping[str, str] | None = None) -> Run:
        """Return the run with its outcome, its log's receipt and its artifacts."""
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

    def rebased_on(self, recorded: Run) -> Run:
        """Return the run as the next state after one that was recorded in the meantime."""
        return dataclasses.replace(self, revision=recorded.revision + 1, cancel_requested=recorded.cancel_requested)

    def without_external_data(self) -> Run:
        """Return the run without data from outside, in case that data makes its record fail."""
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
        """Return the run as a JSON document; times are RFC 3339 strings."""
        document: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return document

    def to_json(self) -> bytes:
        """Return the run as one line of JSON."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Run:
        """Parse what `to_document` returned. Cleans its text and ignores unknown fields. Raises `ValueError`."""
        return _ADAPTER.validate_python(clean_json(document))

    @classmethod
    def from_json(cls, text: bytes | str) -> Run:
        """Parse what `to_json` returned. Cleans its text. Raises `ValueError` if it is not a run."""
        try:
            return _ADAPTER.validate_json(text)
        except ValueError:  # a lone surrogate, which Python's own parser accepts, or not a run
            return cls.from_document(_object(text))


_ADAPTER = TypeAdapter(Run)


def _object(text: bytes | str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def supersedes(new: Run, stored: Run | None) -> bool:
    """Return whether `new` may replace `stored`: it is later, and `stored` is not terminal."""
    return stored is None or (not stored.status.terminal and new.revision > stored.revision)


def newest(run: Run, other: Run | None) -> Run:
    """Return the later of two states of a run."""
    return other if other is not None and other.revision > run.revision else run


def require_same_request(requested: Run, existing: Run) -> Run:
    """Return the existing run. Raises `IdempotencyConflict` if it was launched by a different request."""
    if existing.request_hash != requested.request_hash:
        raise IdempotencyConflict
    return existing
