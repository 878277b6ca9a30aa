"""Limits: calls per credential or ticket, streams per ticket and in total."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from launcher.api.auth import Authenticator, Principal
from launcher.api.limits import CallLimit, StreamLimit
from launcher.api.threads import DaemonThreads
from launcher.domain.errors import StreamsFull, TooManyCalls, TooManyStreams

AUTHENTICATOR = Authenticator(["0123456789abcdef0123456789abcdef"])
SECRET = AUTHENTICATOR.principal("0123456789abcdef0123456789abcdef")


def ticket(run_id: str = "run-1") -> Principal:
    return AUTHENTICATOR.ticket_principal(AUTHENTICATOR.ticket(run_id, SECRET.subject), run_id)


def test_ticket_does_not_use_up_its_issuers_limit() -> None:
    async def scenario() -> None:
        limit, one, other = CallLimit(per_minute=2, per_ticket=5), ticket(), ticket()
        for principal, calls in ((one, 5), (SECRET, 2), (other, 5)):
            for _ in range(calls):
                await limit.count(principal)
            with pytest.raises(TooManyCalls):
                await limit.count(principal)

    asyncio.run(scenario())


def test_refused_calls_use_no_more_memory_than_counted_ones() -> None:
    async def scenario() -> None:
        limit = CallLimit(per_minute=2, per_ticket=2)
        for _ in range(200):
            with contextlib.suppress(TooManyCalls):
                await limit.count(SECRET)
        storage = limit._limiter.storage
        assert len(storage.storage) <= 2  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_streams_are_limited_per_ticket_and_in_total() -> None:
    limit, one, other = StreamLimit(total=5, per_ticket=2), ticket(), ticket("run-2")
    with contextlib.ExitStack() as stack:
        for principal in (one, one, other):
            stack.enter_context(limit.slot(principal))
        with pytest.raises(TooManyStreams), limit.slot(one):
            pass
        for _ in range(2):
            stack.enter_context(limit.slot(SECRET))
        with pytest.raises(StreamsFull), limit.slot(SECRET):
            pass
    assert limit.open == 0
    assert not limit._of_ticket
    with pytest.raises(ValueError, match="within"), limit.slot(one):
        raise ValueError("within")
    assert (limit.open, dict(limit._of_ticket)) == (0, {})


def test_hanging_calls_occupy_only_their_slots_and_later_calls_time_out() -> None:
    async def scenario() -> None:
        threads, hang = DaemonThreads("test", 2), threading.Event()
        try:
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await threads.run(hang.wait, seconds=0.05)
            called = threading.Event()
            with pytest.raises(TimeoutError):
                await threads.run(called.set, seconds=0.05)
            assert not called.is_set()
        finally:
            hang.set()
        assert await threads.run(lambda: 2, seconds=10) == 2
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0, seconds=10)
        assert await asyncio.gather(*(threads.run(lambda n=n: n, seconds=10) for n in range(20))) == list(range(20))  # type: ignore[misc]

    asyncio.run(scenario())
