"""The application: services made in the lifespan, routes, and what stands before them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from launcher.api import problems, runs, service, statistics, streams
from launcher.api.auth import Authenticator
from launcher.api.dependencies import Services
from launcher.api.health import HealthCheck
from launcher.api.limits import CallLimit, StreamLimit
from launcher.api.middleware import BodyLimit, HeadAsGet, LoopbackOnly, RequestMetrics, UnexpectedErrors
from launcher.api.schemas import view
from launcher.api.threads import DaemonThreads
from launcher.engines.port import Engine
from launcher.logs.feed import FeedHub
from launcher.settings import Settings
from launcher.wiring import Storage, open_storage

_LOG_THREADS = 8


def create_app(settings: Settings, environ: Mapping[str, str] | None = None) -> FastAPI:
    """Return the application; `environ` is what pipelines on the local engine inherit, the launcher's own left out."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                app.state.services = await _assemble(settings, os.environ if environ is None else environ, stack)
            except Exception as exc:
                app.state.start_fault = exc
                raise
            yield

    app = FastAPI(
        title="Slipway",
        version=version("slipway"),
        summary="Launches pipeline runs and shows each one live.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.start_fault = None
    problems.install(app)
    for part in (statistics, runs, streams, service):
        app.include_router(part.router, responses=_PROBLEMS)
    app.add_middleware(BodyLimit)  # the last to be added is the first to see a request
    if not settings.secrets:
        app.add_middleware(LoopbackOnly, origins=settings.CORS_ORIGINS)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(RequestMetrics)
    if settings.CORS_ORIGINS:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.CORS_ORIGINS,
            allow_credentials="*" not in settings.CORS_ORIGINS,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    app.add_middleware(HeadAsGet)
    return app


async def _assemble(settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack) -> Services:
    storage = open_storage(settings, stack)
    engine = await _engine(settings, storage, environ)

    async def look(run_id: str) -> dict[str, Any]:
        return view(await engine.get(run_id), await engine.place(run_id))

    hub = FeedHub(storage.archive, storage.tail, look, engine.unfinished)
    storage.recorder.start(only_watch=settings.ENGINE == "kubernetes")  # there the operator records
    stack.push_async_callback(storage.recorder.stop)
    stack.push_async_callback(storage.publisher.stop)
    stack.push_async_callback(engine.stop)
    await engine.start()
    health = HealthCheck(engine, storage.recorder, settings.ARCHIVE_DIR)
    stack.push_async_callback(health.stop)
    return Services(
        settings=settings,
        engine=engine,
        archive=storage.archive,
        artifacts=storage.artifacts,
        recorder=storage.recorder,
        hub=hub,
        authenticator=Authenticator(settings.secrets),
        limit=CallLimit(settings.RATE_LIMIT_PER_MINUTE, settings.TICKET_RATE_LIMIT_PER_MINUTE),
        streams=StreamLimit(settings.MAX_STREAMS),
        health=health,
        log_threads=DaemonThreads("log", _LOG_THREADS),
    )


async def _engine(settings: Settings, storage: Storage, environ: Mapping[str, str]) -> Engine:
    """Make the engine; what the other one needs is not imported, for it costs 20 MB."""
    if settings.ENGINE == "local":
        from launcher.engines.local import LocalEngine

        return LocalEngine(settings, storage, environ)
    from launcher.cluster.client import KubernetesClient
    from launcher.engines.kubernetes import KubernetesEngine

    return KubernetesEngine(settings, await KubernetesClient.connect(settings.KUBE_NAMESPACE), storage)


_PROBLEM = {
    "content": {
        problems.MEDIA_TYPE: {
            "example": problems.problem(404, "There is no such run: GET /jobs lists those there are."),
        }
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is no text", **_PROBLEM},
    401: {"description": "No valid credential", **_PROBLEM},
    403: {"description": "Not within the credential's scope, or outside the run's folder", **_PROBLEM},
    404: {"description": "Unknown run or artifact", **_PROBLEM},
    408: {"description": "The body did not arrive in time", **_PROBLEM},
    409: {"description": "The Idempotency-Key came with another request", **_PROBLEM},
    413: {"description": "The body is too large", **_PROBLEM},
    422: {"description": "The request is not valid; each field is named", **_PROBLEM},
    429: {"description": "Too many calls or streams, or the queue is full; see Retry-After", **_PROBLEM},
    500: {"description": "An unexpected error", **_PROBLEM},
    503: {"description": "The launcher cannot do it now; see Retry-After", **_PROBLEM},
}
