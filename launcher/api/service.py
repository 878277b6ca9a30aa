"""The routes for the service itself: health, probes, metrics, pausing the queue."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from launcher.api.dependencies import Admin, ServicesDep
from launcher.api.problems import problem, response

_READY_SECONDS = 1.0
router = APIRouter(tags=["service"])


@router.get("/health", summary="Show the service's health")
async def health(services: ServicesDep) -> dict[str, Any]:
    """Show whether the service is `healthy` or `degraded`; `problems` says why. Needs no credential, and answers 200 in
    both cases. Runs continue without Redis and MongoDB, and active runs also without the operator.
    """
    return {**await services.health.report(), "engine": services.settings.ENGINE}


@router.get("/livez", summary="Check that the process is alive", response_model=dict[str, str])
async def livez(services: ServicesDep) -> Response:
    """Answer 200 while this process can handle requests, and 503 when it must be restarted."""
    if reason := await services.health.liveness_problem():
        return response(problem(503, reason))
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Check that the service is ready")
async def readyz(services: ServicesDep) -> dict[str, str]:
    """Answer 200 once the engine has loaded the existing runs."""
    await services.health.queue(_READY_SECONDS)
    return {"status": "ok"}


@router.get("/metrics", summary="Show Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Return the metrics. Not available on the public Ingress."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.post("/queue/pause", summary="Pause the queue")
async def pause(services: ServicesDep, principal: Admin) -> dict[str, bool]:
    """Pause the queue: active runs continue, new requests are queued, and no run starts. This survives restarts."""
    await services.engine.pause(True)
    return {"paused": True}


@router.post("/queue/resume", summary="Resume the queue")
async def resume(services: ServicesDep, principal: Admin) -> dict[str, bool]:
    """Resume the queue: runs start again."""
    await services.engine.pause(False)
    return {"paused": False}
