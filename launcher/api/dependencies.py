"""Dependencies of routes: the application's services, and an authenticated principal within its limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Annotated, cast

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from launcher.api.auth import Authenticator, Principal, Scope
from launcher.api.health import HealthCheck
from launcher.api.limits import CallLimit, StreamLimit
from launcher.api.schemas import RunId
from launcher.api.threads import DaemonThreads
from launcher.artifacts import ArtifactFolder
from launcher.engines.port import Engine
from launcher.logs.hub import FeedHub
from launcher.settings import Settings
from launcher.stores.archive import Archive


@dataclass(frozen=True, kw_only=True)
class Services:
    """The services that routes use, created once in the application's lifespan."""

    settings: Settings
    engine: Engine
    archive: Archive
    artifacts: ArtifactFolder
    feeds: FeedHub
    authenticator: Authenticator
    call_limit: CallLimit
    stream_limit: StreamLimit
    health: HealthCheck
    log_readers: DaemonThreads


async def services_of(request: Request) -> Services:
    """Return the application's services. Async, because FastAPI runs a plain function in a thread."""
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(services_of)]
_bearer = HTTPBearer(auto_error=False, description="`RUNNER_API_SECRET` itself, or an HS256 token signed with it.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


def principal_with(scope: Scope) -> Callable[..., object]:
    """Return a dependency that requires a principal with this scope."""

    async def check(services: ServicesDep, credentials: Credentials) -> Principal:
        principal = services.authenticator.principal(credentials.credentials if credentials else None)
        if principal.run_id is not None:  # a ticket is valid only for its run's log and artifacts
            principal = replace(principal, scopes=frozenset())
        await services.call_limit.count(principal)
        principal.require(scope)
        return principal

    return check


Runner = Annotated[Principal, Depends(principal_with(Scope.RUN))]
Reader = Annotated[Principal, Depends(principal_with(Scope.READ))]
Canceller = Annotated[Principal, Depends(principal_with(Scope.CANCEL))]
Admin = Annotated[Principal, Depends(principal_with(Scope.ADMIN))]


async def run_reader(
    run_id: RunId,
    services: ServicesDep,
    credentials: Credentials,
    ticket: Annotated[str | None, Query(description="A ticket for this run, instead of a bearer token.")] = None,
) -> Principal:
    """Return the principal that reads a run's log or artifacts, from the header or from a ticket for this run."""
    if ticket is None:
        principal = services.authenticator.principal(credentials.credentials if credentials else None)
        if principal.run_id is not None:
            services.authenticator.ticket_principal(credentials.credentials if credentials else "", run_id)
    else:
        principal = services.authenticator.ticket_principal(ticket, run_id)
    await services.call_limit.count(principal)
    principal.require(Scope.READ)
    return principal


RunReader = Annotated[Principal, Depends(run_reader)]


async def stream_slot(services: ServicesDep, principal: RunReader) -> AsyncIterator[None]:
    """Hold a stream slot from before the response starts until it has ended, however it ends."""
    with services.stream_limit.slot(principal):
        yield
