"""The calls on the service itself: health, probes, metrics, the queue's switch."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from launcher.api.dependencies import Admin, PartsDep

VERSION = version("slipway")
router = APIRouter(tags=["service"])


@router.get("/health", summary="How the service stands")
async def health(parts: PartsDep) -> dict[str, Any]:
    """Tell how the service stands. Open, and 200 also when `degraded`: runs go on without Redis and MongoDB,
    and those that have started without the operator.
    """
    queue = await parts.engine.queue()
    stores = dict.fromkeys(("redis", "mongodb"), "off")
    owed = 0
    for mirror in parts.recorder.mirrors:
        stores[mirror.name] = {True: "ok", False: "away", None: "connecting"}[mirror.up]
        owed += mirror.owed
    return {
        "status": "degraded" if "away" in (*stores.values(), queue.cluster, queue.operator) else "healthy",
        "active_runs": queue.active,
        "max_concurrency": queue.limit,
        "queued": queue.queued,
        "paused": queue.paused,
        **stores,
        "records_owed": owed,
        "version": VERSION,
        "engine": parts.settings.ENGINE,
        "kubernetes": queue.cluster,
        "operator": queue.operator,
    }


@router.get("/livez", summary="The process answers")
async def livez() -> dict[str, str]:
    """Answer."""
    return {"status": "ok"}


@router.get("/readyz", summary="Runs are taken")
async def readyz(parts: PartsDep) -> dict[str, str]:
    """Answer once the engine has taken up what there was."""
    await parts.engine.queue()
    return {"status": "ok"}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Return the metrics. Not on the public Ingress."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.post("/queue/pause", summary="Start no more runs")
async def pause(parts: PartsDep, caller: Admin) -> dict[str, bool]:
    """Hold the queue: what runs goes on, nothing new starts, requests are still queued. Survives restarts."""
    await parts.engine.pause(True)
    return {"paused": True}


@router.post("/queue/resume", summary="Start runs again")
async def resume(parts: PartsDep, caller: Admin) -> dict[str, bool]:
    """Let the queue go on."""
    await parts.engine.pause(False)
    return {"paused": False}
