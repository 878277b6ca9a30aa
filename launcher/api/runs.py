"""The routes for runs: launch, show, list, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query

from launcher.api.auth import TICKET_SECONDS
from launcher.api.bulk import RejectedItem, ValidItem, parse_items
from launcher.api.dependencies import Canceller, Reader, Runner, Services, ServicesDep
from launcher.api.launching import check_key, check_options, launch, several_at_once
from launcher.api.problems import problem_of
from launcher.api.schemas import (
    MAX_JOB_ID,
    BulkRequest,
    BulkView,
    LaunchOptions,
    RunId,
    RunPage,
    RunRequest,
    RunView,
    TicketView,
    view,
)
from launcher.domain.errors import ClusterUnavailable, InvalidRequest, SlipwayError
from launcher.domain.runs import Run, RunStatus
from launcher.stores.ports import RunQuery

T = TypeVar("T")
router = APIRouter(tags=["runs"])
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Makes a request safe to retry: the same key returns the same run."),
]


async def run_view(services: Services, run: Run) -> dict[str, Any]:
    """Return a run as REST shows it, with its place in the queue while it is queued."""
    return view(run, await services.engine.place(run.run_id))


async def after_others(step: Awaitable[T]) -> T:
    """Let other requests proceed, then await."""
    await asyncio.sleep(0)
    return await step


@router.post("/jobs/run", response_model=RunView, summary="Launch a run")
async def run(
    request: RunRequest, services: ServicesDep, principal: Runner, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Queue a run. It starts when a slot is free. Follow it with `GET /jobs/{run_id}/logs`."""
    check_options(services, request)
    return await run_view(services, await launch(services, request.job_id, request, check_key(key)))


@router.post("/jobs/run-bulk", response_model=BulkView, summary="Launch runs in bulk")
async def run_bulk(
    request: BulkRequest, services: ServicesDep, principal: Runner, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Queue many runs with the same options. Each item has its own result. Repeat the request with the same key to
    launch the items that were refused.

    An item's own `idempotency_key` works like the header of `POST /jobs/run`: the same key launches one run.
    """
    limit = services.settings.MAX_BULK_ITEMS
    if len(request.job_ids) > limit:
        raise InvalidRequest(f"job_ids: {len(request.job_ids)} items; at most {limit} are allowed (MAX_BULK_ITEMS).")
    check_options(services, request)
    launched = await launch_items(services, request, parse_items(request.job_ids, check_key(key)))
    results = [await after_others(_result(services, each)) for each in launched]
    run_ids = [result["run_id"] for result in results if "run_id" in result]
    return {"runs": results, "run_ids": run_ids, "accepted": len(run_ids), "refused": len(results) - len(run_ids)}


async def launch_items(
    services: Services, options: LaunchOptions, items: Iterable[ValidItem | RejectedItem]
) -> list[Run | RejectedItem]:
    """Launch the items of a bulk. Once Kubernetes is unavailable, the rest is refused without a call for each."""
    unavailable: ClusterUnavailable | None = None

    async def launch_item(item: ValidItem | RejectedItem) -> Run | RejectedItem:
        nonlocal unavailable
        if isinstance(item, RejectedItem):
            return item
        try:
            if unavailable is not None:
                raise unavailable
            return await launch(services, item.job_id, options, item.key)
        except SlipwayError as exc:
            unavailable = exc if isinstance(exc, ClusterUnavailable) else unavailable
            return RejectedItem(item.job_id, problem_of(exc))

    return await several_at_once(launch_item, items)


async def _result(services: Services, item: Run | RejectedItem) -> dict[str, Any]:
    if isinstance(item, RejectedItem):
        return {"job_id": item.job_id, "problem": item.problem}
    try:
        shown = await run_view(services, item)
    except SlipwayError:  # it is launched, but Kubernetes does not answer any more
        shown = view(item, None)
    return {"job_id": item.job_id, "run_id": shown["run_id"], "status": shown["status"], "run": shown}


@router.get("/jobs", response_model=RunPage, summary="List runs")
async def find(
    services: ServicesDep,
    principal: Reader,
    job_id: Annotated[str | None, Query(max_length=MAX_JOB_ID, description="List only runs of this work item.")] = None,
    status: Annotated[RunStatus | None, Query(description="List only runs with this status.")] = None,
    pipeline: Annotated[str | None, Query(max_length=64, description="List only runs of this pipeline.")] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000, description="Number of the page, from 1.")] = 1,
    per_page: Annotated[int, Query(ge=1, le=500, description="Runs per page.")] = 50,
) -> dict[str, Any]:
    """List runs, newest first."""
    query = RunQuery(job_id=job_id, status=status, pipeline=pipeline, page=page, per_page=per_page)
    runs, total = await services.engine.find(query)
    views = [await after_others(run_view(services, run)) for run in runs]
    return {"runs": views, "page": page, "per_page": per_page, "total": total}


@router.get("/jobs/{run_id}/status", response_model=RunView, summary="Show a run's status")
async def status(run_id: RunId, services: ServicesDep, principal: Reader) -> dict[str, Any]:
    """Show a run: its status and outcome, its place in the queue, its artifacts and its log's receipt."""
    return await run_view(services, await services.engine.get(run_id))


@router.get("/jobs/{run_id}/request", response_model=RunRequest, summary="Show the request that launched a run")
async def request_of(run_id: RunId, services: ServicesDep, principal: Runner) -> dict[str, Any]:
    """Return a body for `POST /jobs/run` that launches the run again. Needs the scope `run`, because it has params."""
    document = (await services.engine.get(run_id)).to_document()
    return {name: document[name] for name in RunRequest.model_fields}


@router.delete("/jobs/{run_id}", response_model=RunView, summary="Cancel a run")
async def cancel(run_id: RunId, services: ServicesDep, principal: Canceller) -> dict[str, Any]:
    """Stop a run. It is `cancelled` once none of its processes is running. A finished run does not change."""
    return await run_view(services, await services.engine.cancel(run_id))


@router.post(
    "/jobs/{run_id}/ticket", response_model=TicketView, summary="Create a ticket for a run's log and artifacts"
)
async def ticket(run_id: RunId, services: ServicesDep, principal: Reader) -> dict[str, Any]:
    """Create a ticket for a browser, whose links and EventSource cannot send headers. It gives access to this run's log
    and artifacts for ten minutes. A stream that is open by then continues.
    """
    await services.engine.get(run_id)
    text = services.authenticator.ticket(run_id, principal.subject)
    return {"ticket": text, "expires_in_seconds": TICKET_SECONDS, "logs_url": f"/jobs/{run_id}/logs?ticket={text}"}
