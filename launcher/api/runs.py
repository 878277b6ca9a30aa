"""The calls on runs: launch, look, list, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query

from launcher.api.auth import TICKET_SECONDS
from launcher.api.bulk import Refused, Wanted, items_of
from launcher.api.dependencies import Canceller, Reader, Runner, Services, ServicesDep
from launcher.api.launching import check_key, check_options, launch
from launcher.api.problems import problem_of
from launcher.api.schemas import (
    BulkRequest,
    BulkView,
    LaunchOptions,
    RunPage,
    RunRequest,
    RunView,
    TicketView,
    view,
)
from launcher.domain.errors import InvalidRequest, SlipwayError
from launcher.domain.runs import Run, RunStatus
from launcher.stores.ports import RunQuery

T = TypeVar("T")
router = APIRouter(tags=["runs"])
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Makes a repeated request safe: the same key, the same run."),
]


async def shown(services: Services, run: Run) -> dict[str, Any]:
    """Return a run as REST shows it, with its place while it waits."""
    return view(run, await services.engine.place(run.run_id))


async def in_turn(each: Awaitable[T]) -> T:
    """Do one of many things after other calls have had their turn."""
    await asyncio.sleep(0)
    return await each


@router.post("/jobs/run", response_model=RunView, summary="Launch a run")
async def run(
    request: RunRequest, services: ServicesDep, principal: Runner, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Queue one run. It starts when a slot is free; follow it with `GET /jobs/{run_id}/logs`."""
    check_options(services, request)
    return await shown(services, await launch(services, request.job_id, request, check_key(key)))


@router.post("/jobs/run-bulk", response_model=BulkView, summary="Launch a run for each of many job_ids")
async def run_bulk(
    request: BulkRequest, services: ServicesDep, principal: Runner, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Queue many runs with the same options. Each item has its own result; with the same key a repeat does the rest.

    An item with an `idempotency_key` of its own is launched as `POST /jobs/run` does with that key: one run for both.
    """
    most = services.settings.MAX_BULK_ITEMS
    if len(request.job_ids) > most:
        raise InvalidRequest(f"job_ids: {len(request.job_ids)} items; at most {most} in one call (MAX_BULK_ITEMS).")
    check_options(services, request)
    results = [await in_turn(_result(services, item, request)) for item in items_of(request.job_ids, check_key(key))]
    run_ids = [result["run_id"] for result in results if "run_id" in result]
    return {"runs": results, "run_ids": run_ids, "accepted": len(run_ids), "refused": len(results) - len(run_ids)}


async def _result(services: Services, item: Wanted | Refused, options: LaunchOptions) -> dict[str, Any]:
    if isinstance(item, Refused):
        return {"job_id": item.job_id, "problem": item.problem}
    try:
        launched = await shown(services, await launch(services, item.job_id, options, item.key))
    except SlipwayError as exc:
        return {"job_id": item.job_id, "problem": problem_of(exc)}
    return {"job_id": item.job_id, "run_id": launched["run_id"], "status": launched["status"], "run": launched}


@router.get("/jobs", response_model=RunPage, summary="List runs")
async def find(
    services: ServicesDep,
    principal: Reader,
    job_id: Annotated[str | None, Query(max_length=200)] = None,
    status: RunStatus | None = None,
    pipeline: Annotated[str | None, Query(max_length=64)] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """List runs, newest first."""
    query = RunQuery(job_id=job_id, status=status, pipeline=pipeline, page=page, per_page=per_page)
    runs, total = await services.engine.find(query)
    views = [await in_turn(shown(services, run)) for run in runs]
    return {"runs": views, "page": page, "per_page": per_page, "total": total}


@router.get("/jobs/{run_id}/status", response_model=RunView, summary="One run")
async def status(run_id: str, services: ServicesDep, principal: Reader) -> dict[str, Any]:
    """Tell how a run stands."""
    return await shown(services, await services.engine.get(run_id))


@router.get("/jobs/{run_id}/request", response_model=RunRequest, summary="What launches a run again")
async def request_of(run_id: str, services: ServicesDep, principal: Runner) -> dict[str, Any]:
    """Return the body for `POST /jobs/run` that makes such a run again; readers do not see params, so they may not."""
    document = (await services.engine.get(run_id)).to_document()
    return {name: document[name] for name in RunRequest.model_fields}


@router.delete("/jobs/{run_id}", response_model=RunView, summary="Cancel a run")
async def cancel(run_id: str, services: ServicesDep, principal: Canceller) -> dict[str, Any]:
    """Ask that a run ends; it is `cancelled` when nothing of it runs any more. A finished run does not change."""
    return await shown(services, await services.engine.cancel(run_id))


@router.post("/jobs/{run_id}/ticket", response_model=TicketView, summary="A ticket for one run's log and artifacts")
async def ticket(run_id: str, services: ServicesDep, principal: Reader) -> dict[str, Any]:
    """Make a ticket, for a browser, whose links and EventSource send no headers. Its holder reads this run's log and
    artifacts, and nothing else, for ten minutes; a stream that is open then goes on.
    """
    await services.engine.get(run_id)
    text = services.authenticator.ticket(run_id, principal.subject)
    return {"ticket": text, "expires_in_seconds": TICKET_SECONDS, "logs_url": f"/jobs/{run_id}/logs?ticket={text}"}
