"""The routes for a run's log, as live events or as text, and for its artifacts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from launcher.api import problems
from launcher.api.dependencies import RunReader, ServicesDep, stream_slot
from launcher.api.files import ArtifactResponse
from launcher.api.schemas import RunId
from launcher.api.threads import DaemonThreads
from launcher.domain.errors import ArchiveUnavailable

router = APIRouter(tags=["logs and artifacts"])
FileName = Annotated[str, Path(description="The artifact's name, or the path of a file in the run's folder.")]
_STREAM_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_BLOCK_SECONDS = 30.0  # within which the disk must return a block of a log


class _EventStream(StreamingResponse):
    """A response that closes its source of events as soon as it ends, however it ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert isinstance(self.body_iterator, AsyncGenerator)
        async with aclosing(self.body_iterator):
            await super().__call__(scope, receive, send)


@router.get(
    "/jobs/{run_id}/logs",
    summary="Follow a run's log",
    dependencies=[Depends(stream_slot)],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": (
                "Server-sent events. An unnamed event is a line: `id` is its number and `data` its text, or its last "
                "frame if the line redraws itself with carriage returns. `progress` {step, of, label} and `gap` "
                "{from, to, why} take the place of a line and also have an `id`. `status` and `end` contain the run. "
                "`partial` {text} is the current frame of a line that redraws itself, at most 5 times a second; the "
                "next event with an `id` replaces it (local engine only). Ignore unknown events."
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
    run_id: RunId,
    services: ServicesDep,
    principal: RunReader,
    after: Annotated[int, Query(ge=0, lt=2**53, description="Send only lines with a higher number.")] = 0,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="Send only lines after this one.")
    ] = None,
) -> StreamingResponse:
    """Stream the log from line 1, or from the line after `Last-Event-ID` or `after`, until the `end` event."""
    await services.engine.get(run_id)
    if last_event_id and last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16:
        after = int(last_event_id)
    return _EventStream(services.feeds.events(run_id, after), media_type="text/event-stream", headers=_STREAM_HEADERS)


@router.get(
    "/jobs/{run_id}/log",
    summary="Download the whole log",
    dependencies=[Depends(stream_slot)],
    response_class=StreamingResponse,
)
async def log(run_id: RunId, services: ServicesDep, principal: RunReader) -> StreamingResponse:
    """Return the whole log as text, byte for byte as it was printed."""
    await services.engine.get(run_id)
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{run_id}.log"',
    }
    blocks = services.archive.text(run_id)
    first = await _next_block(blocks, services.log_readers)  # before the headers: a disk that hangs is a problem
    text = _remaining_blocks(first, blocks, services.log_readers)
    return StreamingResponse(text, media_type="text/plain; charset=utf-8", headers=headers)


async def _next_block(blocks: Iterator[bytes], threads: DaemonThreads) -> bytes | None:
    try:
        return await threads.run(lambda: next(blocks, None), seconds=_BLOCK_SECONDS)
    except TimeoutError as exc:
        raise ArchiveUnavailable from exc


async def _remaining_blocks(
    first: bytes | None, blocks: Iterator[bytes], threads: DaemonThreads
) -> AsyncIterator[bytes]:
    block = first
    while block is not None:
        yield block
        block = await _next_block(blocks, threads)


@router.get(
    "/artifacts/{run_id}/{filename:anypath}",
    summary="Download an artifact",
    response_class=ArtifactResponse,
    status_code=200,
    responses={
        200: {"description": "The file, as an attachment.", "content": {"application/octet-stream": {}}},
        206: {"description": "The part that `Range` requests.", "content": {"application/octet-stream": {}}},
        304: {"description": "`If-None-Match` matches the current file."},
        416: {
            "description": "The file does not contain the bytes that `Range` requests.",
            "content": {problems.MEDIA_TYPE: {}},
        },
    },
)
async def artifact(run_id: RunId, filename: FileName, services: ServicesDep, principal: RunReader) -> ArtifactResponse:
    """Return a file from the run's folder, or a part of it (`Range`)."""
    run = await services.engine.get(run_id)
    return ArtifactResponse(await services.artifacts.open(run, filename))
