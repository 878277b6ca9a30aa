"""What routes are given: the parts of the application, and the caller who has passed the gate and the limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from launcher.api.auth import Caller, Gate, Scope
from launcher.artifacts import ArtifactFolder
from launcher.domain.errors import TooManyCalls
from launcher.engines.port import Engine
from launcher.logs.feed import FeedHub
from launcher.recorder import Recorder
from launcher.settings import Settings
from launcher.stores.archive import Archive


class CallLimit:
    """Calls per minute and credential. All of a platform's functions share an address, so addresses say nothing."""

    def __init__(self, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, subject: str) -> None:
        """Count one call. Raises `TooManyCalls`."""
        if not await self._limiter.hit(self._item, subject):
            raise TooManyCalls


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


def parts_of(request: Request) -> Parts:
    """Return the application's parts."""
    return cast(Parts, request.app.state.parts)


PartsDep = Annotated[Parts, Depends(parts_of)]
_bearer = HTTPBearer(auto_error=False, description="RUNNER_API_SECRET itself, or an HS256 token signed with it")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


def caller_with(scope: Scope) -> Callable[..., object]:
    """Return a dependency: the caller, who has this scope."""

    async def check(parts: PartsDep, credentials: Credentials) -> Caller:
        caller = parts.gate.caller(credentials.credentials if credentials else None)
        if caller.run_id is not None:  # a ticket opens its one run's log and artifacts and nothing else
            caller = Caller(subject=caller.subject, scopes=frozenset())
        caller.require(scope)
        await parts.limit.count(caller.subject)
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
    caller.require(Scope.READ)
    await parts.limit.count(caller.subject)
    return caller


RunReader = Annotated[Caller, Depends(run_reader)]
