"""The application: services created in the lifespan, routes and middleware."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
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
from launcher.domain.errors import RunNotFound
from launcher.engines.port import Engine
from launcher.logs.hub import FeedHub
from launcher.settings import Settings
from launcher.version import VERSION
from launcher.wiring import Recording, Storage, open_recording, open_storage

_LOG_READERS = 8


def create_app(settings: Settings, environ: Mapping[str, str] | None = None) -> FastAPI:
    """Create the application. Pipelines on the local engine inherit `environ`, without the launcher's own settings."""

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
        version=VERSION,
        summary="Launch pipeline runs and follow each one live.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.services = app.state.start_fault = None
    problems.install(app)
    for module in (statistics, runs, streams, service):
        app.include_router(module.router, responses=_PROBLEMS)
    app.add_middleware(BodyLimit)  # the middleware added last sees a request first
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
    storage.start_watches(stack)
    recording: Recording | None = None
    if settings.ENGINE == "local":  # on Kubernetes, the operator records
        recording = open_recording(settings, storage)
        recording.start(stack)
    engine = await _engine(settings, storage, recording, environ)

    async def run_document(run_id: str) -> dict[str, Any]:
        return view(await engine.get(run_id), await engine.place(run_id))

    feeds = FeedHub(storage.archive, storage.tail, run_document, engine.partial_line)
    stack.push_async_callback(engine.stop)
    await engine.start()
    recorder = recording.recorder if recording else None
    health = HealthCheck(engine, storage.archive, storage.watches, recorder, settings.ARCHIVE_DIR)
    stack.push_async_callback(health.stop)
    return Services(
        settings=settings,
        engine=engine,
        archive=storage.archive,
        artifacts=storage.artifacts,
        feeds=feeds,
        authenticator=Authenticator(settings.secrets),
        call_limit=CallLimit(settings.RATE_LIMIT_PER_MINUTE, settings.TICKET_RATE_LIMIT_PER_MINUTE),
        stream_limit=StreamLimit(settings.MAX_STREAMS),
        health=health,
        log_readers=DaemonThreads("log", _LOG_READERS),
    )


async def _engine(
    settings: Settings, storage: Storage, recording: Recording | None, environ: Mapping[str, str]
) -> Engine:
    """Create the engine. Imports of the other engine are left out: they cost 20 MB."""
    if recording:
        from launcher.engines.local import LocalEngine

        return LocalEngine(settings, storage, recording, environ)
    from launcher.cluster.client import KubernetesClient
    from launcher.engines.kubernetes import KubernetesEngine

    return KubernetesEngine(settings, await KubernetesClient.connect(settings.KUBE_NAMESPACE), storage)


_PROBLEM = {
    "content": {
        problems.MEDIA_TYPE: {
            "example": problems.problem_of(RunNotFound()),
        }
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request body is not valid text", **_PROBLEM},
    401: {"description": "The credential is missing or not valid", **_PROBLEM},
    403: {
        "description": "The credential lacks the scope, or the file cannot be read or is outside the run's folder",
        **_PROBLEM,
    },
    404: {"description": "The run or artifact was not found", **_PROBLEM},
    408: {"description": "The request body did not arrive in time", **_PROBLEM},
    409: {"description": "The Idempotency-Key was used with a different request", **_PROBLEM},
    413: {"description": "The request body is too large", **_PROBLEM},
    422: {"description": "The request is not valid; `errors` lists each field", **_PROBLEM},
    429: {"description": "Too many requests or streams, or the queue is full; see `Retry-After`", **_PROBLEM},
    500: {"description": "An unexpected error occurred", **_PROBLEM},
    503: {"description": "The launcher is temporarily unavailable; see `Retry-After`", **_PROBLEM},
}
