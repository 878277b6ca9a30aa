"""A run's log: live as server-sent events, whole as text; and its artifacts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from launcher.api.dependencies import PartsDep, RunReader
from launcher.api.files import FileAnswer

router = APIRouter(tags=["logs and artifacts"])
_STREAM_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


@router.get(
    "/jobs/{run_id}/logs",
    summary="Follow a run",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": (
                "Server-sent events. Unnamed: a line; `id` is its number, `data` its text, or its last frame if it "
                "redraws itself with carriage returns. `progress` {step, of, label} and `gap` {from, to, why} stand "
                "for a line and have an `id` too. `status` and `end` hold the run. `partial` {text}: what a line that "
                "redraws itself shows before it is finished, at most 5 times a second; the next event with an `id` "
                "replaces it (local engine only). Ignore events that you do not know."
            ),
            "content": {
                "text/event-stream": {
                    "example": "data: Starting pipeline default for job 4711\nid: 1\n\nevent: end\ndata: {…}\n\n"
                }
            },
        }
    },
)
async def logs(
    run_id: str,
    parts: PartsDep,
    caller: RunReader,
    after: Annotated[int, Query(ge=0, description="Only lines with higher numbers.")] = 0,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> StreamingResponse:
    """Stream the log from line 1, or from where `Last-Event-ID` or `after` says, to the `end` event."""
    await parts.engine.get(run_id)
    if last_event_id and last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16:
        after = int(last_event_id)
    return StreamingResponse(parts.hub.events(run_id, after), media_type="text/event-stream", headers=_STREAM_HEADERS)


@router.get("/jobs/{run_id}/log", summary="The whole log as text", response_class=StreamingResponse)
async def log(run_id: str, parts: PartsDep, caller: RunReader) -> StreamingResponse:
    """Return all that the archive holds, byte by byte as it was printed."""
    await parts.engine.get(run_id)
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{run_id}.log"',
    }
    return StreamingResponse(parts.archive.text(run_id), media_type="text/plain; charset=utf-8", headers=headers)


@router.get(
    "/artifacts/{run_id}/{filename:anypath}", summary="Download an artifact", response_class=FileAnswer, status_code=200
)
async def artifact(run_id: str, filename: str, parts: PartsDep, caller: RunReader) -> FileAnswer:
    """Return one file of the run's own folder, or a part of it (`Range`)."""
    run = await parts.engine.get(run_id)
    return FileAnswer(await parts.artifacts.open(run, filename))
