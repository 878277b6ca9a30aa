"""What one principal may use up: calls per minute, and streams that are open at a time.

Only callers whose credential was good are counted, so nobody else can make these tables grow. A ticket is counted for
itself: it is handed to a browser, and must not use up what its maker needs.
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


class CallLimit:
    """Calls per minute and credential. All of a platform's functions share an address, so addresses say nothing."""

    def __init__(self, per_minute: int, per_ticket: int) -> None:
        self._item, self._ticket_item = RateLimitItemPerMinute(per_minute), RateLimitItemPerMinute(per_ticket)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, principal: Principal) -> None:
        """Count one call. Raises `TooManyCalls`."""
        if principal.run_id is None:
            if not await self._limiter.hit(self._item, principal.limit_key):
                raise TooManyCalls
        elif not await self._limiter.hit(self._ticket_item, principal.limit_key):
            raise TooManyCalls("Too many calls with this ticket: slow down, or raise TICKET_RATE_LIMIT_PER_MINUTE.")


class StreamLimit:
    """Streams that are open, of all callers and of each ticket."""

    def __init__(self, most: int, per_ticket: int = STREAMS_PER_TICKET) -> None:
        self._most, self._per_ticket = most, per_ticket
        self._of_ticket: Counter[str] = Counter()
        self.open = 0

    @contextmanager
    def slot(self, principal: Principal) -> Iterator[None]:
        """Count one stream while it is open. Raises `StreamsFull` or `TooManyStreams`."""
        ticket = principal.limit_key if principal.run_id is not None else None
        if self.open >= self._most:
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
