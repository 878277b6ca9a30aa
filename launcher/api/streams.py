"""A run's log: live as server-sent events, whole as text; and its artifacts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from launcher.api import problems
from launcher.api.dependencies import RunReader, ServicesDep, stream_slot
from launcher.api.files import FileAnswer
from launcher.api.threads import DaemonThreads
from launcher.domain.errors import ArchiveUnavailable

router = APIRouter(tags=["logs and artifacts"])
_STREAM_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_BLOCK_SECONDS = 30.0  # in which the archive's disk gives a block of a log


class _Stream(StreamingResponse):
    """An answer whose events end with it, at once, however it ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert isinstance(self.body_iterator, AsyncGenerator)
        async with aclosing(self.body_iterator):
            await super().__call__(scope, receive, send)


@router.get(
    "/jobs/{run_id}/logs",
    summary="Follow a run",
    dependencies=[Depends(stream_slot)],
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
    services: ServicesDep,
    principal: RunReader,
    after: Annotated[int, Query(ge=0, lt=2**53, description="Only lines with higher numbers.")] = 0,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> StreamingResponse:
    """Stream the log from line 1, or from where `Last-Event-ID` or `after` says, to the `end` event."""
    await services.engine.get(run_id)
    if last_event_id and last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16:
        after = int(last_event_id)
    return _Stream(services.hub.events(run_id, after), media_type="text/event-stream", headers=_STREAM_HEADERS)


@router.get(
    "/jobs/{run_id}/log",
    summary="The whole log as text",
    dependencies=[Depends(stream_slot)],
    response_class=StreamingResponse,
)
async def log(run_id: str, services: ServicesDep, principal: RunReader) -> StreamingResponse:
    """Return all that the archive holds, byte by byte as it was printed."""
    await services.engine.get(run_id)
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{run_id}.log"',
    }
    blocks = services.archive.text(run_id)
    first = await _next(blocks, services.log_threads)  # a disk that hangs is an answer of its own
    text = _text(first, blocks, services.log_threads)
    return StreamingResponse(text, media_type="text/plain; charset=utf-8", headers=headers)


async def _next(blocks: Iterator[bytes], threads: DaemonThreads) -> bytes | None:
    try:
        return await threads.run(lambda: next(blocks, None), seconds=_BLOCK_SECONDS)
    except TimeoutError as exc:
        raise ArchiveUnavailable from exc


async def _text(first: bytes | None, blocks: Iterator[bytes], threads: DaemonThreads) -> AsyncIterator[bytes]:
    block = first
    while block is not None:
        yield block
        block = await _next(blocks, threads)


@router.get(
    "/artifacts/{run_id}/{filename:anypath}",
    summary="Download an artifact",
    response_class=FileAnswer,
    status_code=200,
    responses={
        200: {"description": "The file, as an attachment", "content": {"application/octet-stream": {}}},
        206: {"description": "The part that `Range` asks for", "content": {"application/octet-stream": {}}},
        304: {"description": "`If-None-Match` names the file as it is"},
        416: {
            "description": "The file has none of the bytes that `Range` asks for",
            "content": {problems.MEDIA_TYPE: {}},
        },
    },
)
async def artifact(run_id: str, filename: str, services: ServicesDep, principal: RunReader) -> FileAnswer:
    """Return one file of the run's own folder, or a part of it (`Range`)."""
    run = await services.engine.get(run_id)
    return FileAnswer(await services.artifacts.open(run, filename))
