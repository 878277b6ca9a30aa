"""What goes over the wire: requests with their bounds, answers with examples."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from launcher.artifacts import artifact_urls
from launcher.domain.names import hash_of
from launcher.domain.queue_places import QueuePlace
from launcher.domain.runs import Run

MAX_JOB_ID = 200
MAX_KEY = 255
MAX_PARAMS_BYTES = 65536
"""Half of what Linux takes in one environment variable."""
_MAX_PARAMS = 50


_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates: they make a name look like another one. Joiners (Persian, emoji) are harmless."""


def _printable(text: str) -> str:
    if text != text.strip() or text.startswith("-"):
        raise ValueError("must not begin with '-' or begin or end with a space")
    if any(unicodedata.category(sign) in ("Cc", "Cs") or sign in _BIDIRECTIONAL for sign in text):
        raise ValueError("must have no control characters, nor any that change the direction of writing")
    return text


JobId = Annotated[
    str,
    Field(min_length=1, max_length=MAX_JOB_ID, strict=True, description="The work item; `jobId` in MongoDB."),
    AfterValidator(_printable),
]


def _as_in_a_header(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or text != text.strip():
        raise ValueError("must be as a header can hold it: printable ASCII, no space at either end")
    return text


Key = Annotated[
    str,
    Field(min_length=1, max_length=MAX_KEY, strict=True, description="As a single run's header `Idempotency-Key`."),
    AfterValidator(_as_in_a_header),
]
ProfileRef = Annotated[str, Field(strict=True, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ParamName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
ParamValue = (
    Annotated[str, Field(max_length=4096)]
    | bool
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what MongoDB can hold
    | Annotated[float, Field(allow_inf_nan=False)]
)


def _not_too_large(params: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(params, ensure_ascii=False).encode()) > MAX_PARAMS_BYTES:
        raise ValueError(f"more than {MAX_PARAMS_BYTES} bytes in all")
    return params


Params = Annotated[dict[ParamName, ParamValue], Field(max_length=_MAX_PARAMS), AfterValidator(_not_too_large)]


class LaunchOptions(BaseModel):
    """How to run: all optional."""

    model_config = ConfigDict(extra="forbid")

    profile_ref: ProfileRef | None = Field(None, description="Passed to the pipeline as --profile.")
    pipeline: str | None = Field(None, max_length=64, description="A configured pipeline; not given: `default`.")
    params: Params = Field(default_factory=dict, description="The pipeline finds them in PIPELINE_PARAMS.")
    priority: int = Field(0, ge=-100, le=100, strict=True, description="Higher goes first.")
    timeout_seconds: int | None = Field(None, ge=1, strict=True, description="Counted from the pipeline's start.")


class RunRequest(LaunchOptions):
    """One run."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"job_id": "4711", "profile_ref": "senior"}]}
    )

    job_id: JobId


class BulkJob(BaseModel):
    """A job_id of a bulk, with a key of its own where that is wished."""

    model_config = ConfigDict(extra="forbid")

    job_id: JobId
    idempotency_key: Key | None = None


BulkEntry = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, BulkJob.model_json_schema()]})]


class BulkRequest(LaunchOptions):
    """One run for each job_id, with the same options."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"job_ids": ["4711", "4712"]},
                {"job_ids": ["4711", {"job_id": "4712", "idempotency_key": "4712, first time"}]},
            ]
        },
    )

    job_ids: list[BulkEntry] = Field(
        min_length=1, description="Each is checked for itself: one bad item refuses no other."
    )


class RunView(BaseModel):
    """A run, as every call shows it. Times: RFC 3339, UTC."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_id": "4711-01kav3mq8w3n0d3k2h7f6s9x1c",
                    "job_id": "4711",
                    "profile_ref": "senior",
                    "pipeline": "default",
                    "status": "completed",
                    "reason": "Completed",
                    "message": "The pipeline finished successfully.",
                    "exit_code": 0,
                    "queue": None,
                    "created_at": "2026-11-24T08:00:00.000000Z",
                    "started_at": "2026-11-24T08:00:00.010000Z",
                    "completed_at": "2026-11-24T08:00:09.120000Z",
                    "updated_at": "2026-11-24T08:00:09.120000Z",
                    "artifacts": {"cv_md_url": "/artifacts/4711-01kav3mq8w3n0d3k2h7f6s9x1c/CV.md"},
                    "log": {"lines": 23, "bytes": 1204, "complete": True, "gaps": []},
                }
            ]
        }
    )

    run_id: str
    job_id: str
    profile_ref: str | None
    pipeline: str
    status: str = Field(description="queued, running, completed, failed or cancelled")
    reason: str | None = Field(description="Stable code of the end, for programs.")
    message: str | None = Field(description="The end in a sentence, for people.")
    exit_code: int | None
    queue: dict[str, Any] | None = Field(description="While waiting: position, eta_seconds, why.")
    created_at: str
    started_at: str | None
    completed_at: str | None
    updated_at: str
    artifacts: dict[str, str] = Field(description="Key to URL path.")
    log: dict[str, Any] = Field(description="The receipt: lines, bytes, complete, gaps.")


class RunPage(BaseModel):
    """A page of runs, newest first."""

    runs: list[RunView]
    page: int
    per_page: int
    total: int


class BulkItem(BaseModel):
    """The result of one item: the run, or the problem that refused it."""

    job_id: Any
    status: str | None = None
    run_id: str | None = None
    run: RunView | None = None
    problem: dict[str, Any] | None = None


class BulkView(BaseModel):
    """One result an item, in the order asked."""

    runs: list[BulkItem]
    run_ids: list[str]
    accepted: int
    refused: int


class TicketView(BaseModel):
    """A ticket for one run's log and artifacts: `?ticket=` where a browser cannot send headers."""

    ticket: str
    expires_in_seconds: int
    logs_url: str


def view(run: Run, place: QueuePlace | None) -> dict[str, Any]:
    """Return a run as every call shows it."""
    document = run.to_document()
    return {
        **{name: document[name] for name in RunView.model_fields if name not in ("queue", "artifacts", "log")},
        "queue": place and {"position": place.position, "eta_seconds": place.eta_seconds, "why": place.why},
        "artifacts": artifact_urls(run),
        "log": {
            "lines": run.log.lines,
            "bytes": run.log.bytes,
            "complete": run.log.complete,
            "gaps": [gap.to_document() for gap in run.log.gaps],
        },
    }


def request_hash(job_id: str, options: Mapping[str, Any]) -> str:
    """Return what tells two requests apart under one Idempotency-Key, whether asked for one by one or in bulk."""
    return hash_of(repr((job_id, sorted(options.items()))))
