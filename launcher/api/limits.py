"""Limits per principal: calls per minute, and open streams.

Only authenticated calls are counted, so nobody else can make these tables grow. A ticket has a limit of its own: it is
given to a browser, which must not use up the limit of the ticket's issuer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from launcher.api.auth import Principal
from launcher.domain.errors import StreamsFull, TooManyCalls, TooManyStreams

STREAMS_PER_TICKET = 8
TOO_MANY_TICKET_CALLS = "Too many requests with this ticket. Slow down, or raise TICKET_RATE_LIMIT_PER_MINUTE."


class CallLimit:
    """Limits calls per minute and credential, not per address: all functions of a platform can share one."""

    def __init__(self, per_minute: int, per_ticket: int) -> None:
        self._item, self._ticket_item = RateLimitItemPerMinute(per_minute), RateLimitItemPerMinute(per_ticket)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, principal: Principal) -> None:
        """Count one call. Raises `TooManyCalls`."""
        if principal.run_id is None:
            if not await self._limiter.hit(self._item, principal.limit_key):
                raise TooManyCalls
        elif not await self._limiter.hit(self._ticket_item, principal.limit_key):
            raise TooManyCalls(TOO_MANY_TICKET_CALLS)


class StreamLimit:
    """Limits open streams, in total and per ticket."""

    def __init__(self, total: int, per_ticket: int = STREAMS_PER_TICKET) -> None:
        self._total, self._per_ticket = total, per_ticket
        self._of_ticket: Counter[str] = Counter()
        self.open = 0

    @contextmanager
    def slot(self, principal: Principal) -> Iterator[None]:
        """Hold a slot while a stream is open. Raises `StreamsFull` or `TooManyStreams`."""
        ticket = principal.limit_key if principal.run_id is not None else None
        if self.open >= self._total:
            raise StreamsFull
        if ticket and self._of_ticket[ticket] >= self._per_ticket:
            raise TooManyStreams
        self.open += 1
        if ticket:
            self._of_ticket[ticket] += 1
        try:
            yield
        finally:
            self.open -= 1
            if ticket:
                self._of_ticket[ticket] -= 1
                if not self._of_ticket[ticket]:
                    del self._of_ticket[ticket]
