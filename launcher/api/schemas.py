"""The bodies of requests and responses, with their limits and examples."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from launcher.artifacts import artifact_urls
from launcher.domain.names import hash_of
from launcher.domain.queue_places import QueuePlace
from launcher.domain.runs import Run

MAX_JOB_ID = 200
MAX_KEY = 255
MAX_PARAMS_BYTES = 65536
"""Half of the longest environment variable on Linux."""
_MAX_PARAMS = 50

JOB_ID_EDGES = "must not start with '-', or start or end with a space"
JOB_ID_CHARACTERS = "must not contain control characters or characters that change the text direction"
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates, which can disguise a name. Joiners (Persian, emoji) are harmless."""


def _printable(text: str) -> str:
    if text != text.strip() or text.startswith("-"):
        raise ValueError(JOB_ID_EDGES)
    if any(unicodedata.category(each) in ("Cc", "Cs") or each in _BIDIRECTIONAL for each in text):
        raise ValueError(JOB_ID_CHARACTERS)
    return text


JobId = Annotated[
    str,
    Field(min_length=1, max_length=MAX_JOB_ID, strict=True, description="The work item: `jobId` in MongoDB."),
    AfterValidator(_printable),
]


def _header_value(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or text != text.strip():
        raise ValueError("must be printable ASCII without a space at either end, like a header")
    return text


Key = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_KEY,
        strict=True,
        description="Like the header `Idempotency-Key` of `POST /jobs/run`.",
    ),
    AfterValidator(_header_value),
]
RunId = Annotated[str, Path(description="The run, as `POST /jobs/run` returned it.")]
ProfileRef = Annotated[str, Field(strict=True, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ParamName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
ParamValue = (
    Annotated[str, Field(max_length=4096)]
    | bool
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]  # MongoDB's range
    | Annotated[float, Field(allow_inf_nan=False)]
)


def _within_size_limit(params: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(params, ensure_ascii=False).encode()) > MAX_PARAMS_BYTES:
        raise ValueError(f"must be at most {MAX_PARAMS_BYTES} bytes in total")
    return params


Params = Annotated[dict[ParamName, ParamValue], Field(max_length=_MAX_PARAMS), AfterValidator(_within_size_limit)]


class LaunchOptions(BaseModel):
    """How to run the pipeline. All fields are optional."""

    model_config = ConfigDict(extra="forbid")

    profile_ref: ProfileRef | None = Field(None, description="Passed to the pipeline as `--profile`.")
    pipeline: str | None = Field(
        None, max_length=64, description="Name of a configured pipeline; `default` if not set."
    )
    params: Params = Field(
        default_factory=dict,
        description="Passed to the pipeline in the environment variable `PIPELINE_PARAMS`, as JSON.",
    )
    priority: int = Field(0, ge=-100, le=100, strict=True, description="Runs with a higher priority start first.")
    timeout_seconds: int | None = Field(
        None, ge=1, strict=True, description="Time limit, counted from the start of the pipeline."
    )


class RunRequest(LaunchOptions):
    """A request for one run."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"job_id": "4711", "profile_ref": "senior"}]}
    )

    job_id: JobId


class BulkJob(BaseModel):
    """An item of a bulk request: a job_id, optionally with its own idempotency key."""

    model_config = ConfigDict(extra="forbid")

    job_id: JobId
    idempotency_key: Key | None = None


BulkEntry = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, BulkJob.model_json_schema()]})]


class BulkRequest(LaunchOptions):
    """A request for one run per job_id, all with the same options."""

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
        min_length=1, description="Each item is validated separately: an invalid one does not affect the others."
    )


class RunView(BaseModel):
    """A run. Times are in RFC 3339 format, in UTC."""

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
    status: str = Field(description="`queued`, `running`, `completed`, `failed` or `cancelled`.")
    reason: str | None = Field(description="Why the run finished, as a stable code for programs.")
    message: str | None = Field(description="Why the run finished, as a sentence for people.")
    exit_code: int | None
    queue: dict[str, Any] | None = Field(description="While the run is queued: `position`, `eta_seconds`, `why`.")
    created_at: str
    started_at: str | None
    completed_at: str | None
    updated_at: str
    artifacts: dict[str, str] = Field(description="URL path of each artifact, by key.")
    log: dict[str, Any] = Field(description="The log's receipt: `lines`, `bytes`, `complete`, `gaps`.")


class RunPage(BaseModel):
    """A page of runs, newest first."""

    runs: list[RunView]
    page: int
    per_page: int
    total: int


class BulkItem(BaseModel):
    """The result of one item: its run, or the problem that explains why it was refused."""

    job_id: Any
    status: str | None = None
    run_id: str | None = None
    run: RunView | None = None
    problem: dict[str, Any] | None = None


class BulkView(BaseModel):
    """The results of all items, in the order of the request."""

    runs: list[BulkItem]
    run_ids: list[str]
    accepted: int
    refused: int


class TicketView(BaseModel):
    """A ticket for one run's log and artifacts, sent as `?ticket=` when a browser cannot send headers."""

    ticket: str
    expires_in_seconds: int
    logs_url: str


def view(run: Run, place: QueuePlace | None) -> dict[str, Any]:
    """Return a run as a `RunView`."""
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
    """Return a hash to tell requests with the same Idempotency-Key apart, whether they are single or in bulk."""
    return hash_of(repr((job_id, sorted(options.items()))))
