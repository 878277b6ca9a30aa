"""The calls on the service itself: health, probes, metrics, the queue's switch."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from launcher.api.dependencies import Admin, ServicesDep
from launcher.api.problems import problem, response

_READY_SECONDS = 1.0
router = APIRouter(tags=["service"])


@router.get("/health", summary="How the service is")
async def health(services: ServicesDep) -> dict[str, Any]:
    """Show how the service is. Open, and 200 also when `degraded`; `problems` says why, in sentences. Runs continue
    without Redis and MongoDB, and those that have started without the operator.
    """
    return {**await services.health.document(), "engine": services.settings.ENGINE}


@router.get("/livez", summary="The process answers", response_model=dict[str, str])
async def livez(services: ServicesDep) -> Response:
    """Answer 200 while this process can answer calls, 503 when it has to be started again."""
    if fault := await services.health.fault():
        return response(problem(503, fault))
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Runs are taken")
async def readyz(services: ServicesDep) -> dict[str, str]:
    """Answer once the engine has taken up what there was."""
    await services.health.queue(_READY_SECONDS)
    return {"status": "ok"}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Return the metrics. Not on the public Ingress."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.post("/queue/pause", summary="Start no more runs")
async def pause(services: ServicesDep, principal: Admin) -> dict[str, bool]:
    """Hold the queue: what runs goes on, nothing new starts, requests are still queued. Survives restarts."""
    await services.engine.pause(True)
    return {"paused": True}


@router.post("/queue/resume", summary="Start runs again")
async def resume(services: ServicesDep, principal: Admin) -> dict[str, bool]:
    """Let the queue go on."""
    await services.engine.pause(False)
    return {"paused": False}
