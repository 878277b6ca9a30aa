"""What routes are given: the parts of the application, and the caller who has passed the gate and the limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from launcher.api.auth import Caller, Gate, Scope
from launcher.api.health import HealthCheck
from launcher.api.limits import CallLimit, StreamLimit
from launcher.api.threads import DaemonThreads
from launcher.artifacts import ArtifactFolder
from launcher.engines.port import Engine
from launcher.logs.feed import FeedHub
from launcher.recorder import Recorder
from launcher.settings import Settings
from launcher.stores.archive import Archive


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that routes use, made once in the application's lifespan."""

    settings: Settings
    engine: Engine
    archive: Archive
    artifacts: ArtifactFolder
    recorder: Recorder
    hub: FeedHub
    gate: Gate
    limit: CallLimit
    streams: StreamLimit
    health: HealthCheck
    log_threads: DaemonThreads


async def parts_of(request: Request) -> Parts:
    """Return the application's parts; not in a thread, as FastAPI would have it for a plain function."""
    return cast(Parts, request.app.state.parts)


PartsDep = Annotated[Parts, Depends(parts_of)]
_bearer = HTTPBearer(auto_error=False, description="RUNNER_API_SECRET itself, or an HS256 token signed with it")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


def caller_with(scope: Scope) -> Callable[..., object]:
    """Return a dependency: the caller, who has this scope."""

    async def check(parts: PartsDep, credentials: Credentials) -> Caller:
        caller = parts.gate.caller(credentials.credentials if credentials else None)
        if caller.run_id is not None:  # a ticket opens its one run's log and artifacts and nothing else
            caller = replace(caller, scopes=frozenset())
        await parts.limit.count(caller)
        caller.require(scope)
        return caller

    return check


Runner = Annotated[Caller, Depends(caller_with(Scope.RUN))]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
Canceller = Annotated[Caller, Depends(caller_with(Scope.CANCEL))]
Admin = Annotated[Caller, Depends(caller_with(Scope.ADMIN))]


async def run_reader(run_id: str, parts: PartsDep, credentials: Credentials, ticket: str | None = None) -> Caller:
    """Return who reads one run's log or artifacts: by header like anybody, or by a ticket for this run."""
    if ticket is None:
        caller = parts.gate.caller(credentials.credentials if credentials else None)
        if caller.run_id is not None:
            parts.gate.ticket_caller(credentials.credentials if credentials else "", run_id)
    else:
        caller = parts.gate.ticket_caller(ticket, run_id)
    await parts.limit.count(caller)
    caller.require(Scope.READ)
    return caller


RunReader = Annotated[Caller, Depends(run_reader)]


async def stream_slot(parts: PartsDep, caller: RunReader) -> AsyncIterator[None]:
    """Count a stream from before its answer begins until the answer has ended, in whatever way."""
    with parts.streams.slot(caller):
        yield
