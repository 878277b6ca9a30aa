"""The application: parts made in the lifespan, routes, and what stands before them."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from launcher.api import jobs, problems, service, statistics, streams
from launcher.api.auth import Gate
from launcher.api.dependencies import CallLimit, Parts
from launcher.api.schemas import view
from launcher.engines.port import Engine
from launcher.logs.feed import FeedHub
from launcher.settings import Settings
from launcher.storage import Storage, open_storage

MAX_BODY_BYTES = 1 << 20
SECONDS = Histogram("slipway_http_seconds", "Seconds to the answer's first byte", ["method", "route", "status"])


def create_app(settings: Settings, environ: Mapping[str, str] | None = None) -> FastAPI:
    """Return the application; `environ` is what pipelines on the local engine inherit, the launcher's own left out."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                app.state.parts = await _assemble(settings, os.environ if environ is None else environ, stack)
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
    for part in (statistics, jobs, streams, service):
        app.include_router(part.router, responses=_PROBLEMS)
    app.add_middleware(BodyLimit)
    app.add_middleware(Measured)
    if settings.CORS_ORIGINS:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.CORS_ORIGINS,
            allow_credentials="*" not in settings.CORS_ORIGINS,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    return app


async def _assemble(settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack) -> Parts:
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
    return Parts(
        settings=settings,
        engine=engine,
        archive=storage.archive,
        artifacts=storage.artifacts,
        recorder=storage.recorder,
        hub=hub,
        gate=Gate(settings.secrets),
        limit=CallLimit(settings.RATE_LIMIT_PER_MINUTE),
    )


async def _engine(settings: Settings, storage: Storage, environ: Mapping[str, str]) -> Engine:
    """Make the engine; what the other one needs is not imported, for it costs 20 MB."""
    if settings.ENGINE == "local":
        from launcher.engines.local import LocalEngine

        return LocalEngine(settings, storage, environ)
    from launcher.cluster.client import Cluster
    from launcher.engines.kubernetes import KubernetesEngine

    return KubernetesEngine(settings, await Cluster.connect(settings.KUBE_NAMESPACE), storage)


class BodyLimit:
    """Refuses request bodies over a mebibyte with 413, whether they say their length or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                text = f"The body is larger than {MAX_BODY_BYTES} bytes."
                await problems.response(problems.problem(413, text))(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


class Measured:
    """Measures each answer by route, never by path: paths bear run ids, of which there is no end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                SECONDS.labels(scope["method"], route, message["status"]).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, watch)


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
    409: {"description": "The Idempotency-Key came with another request", **_PROBLEM},
    413: {"description": "The body is too large", **_PROBLEM},
    422: {"description": "The request is not valid; each field is named", **_PROBLEM},
    429: {"description": "Too many calls, or the queue is full; see Retry-After", **_PROBLEM},
    503: {"description": "The launcher cannot do it now; see Retry-After", **_PROBLEM},
}
