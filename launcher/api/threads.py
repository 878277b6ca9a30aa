"""Daemon threads for calls that may hang, such as disk reads. Neither other pools nor the exit wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Runs at most `count` calls at a time in daemon threads. A call that hangs occupies only its own slot."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._free = asyncio.Semaphore(count)

    async def run(self, call: Callable[[], T], *, seconds: float) -> T:
        """Return the call's result. Raises `TimeoutError` if no thread becomes free or the call takes too long."""
        loop = asyncio.get_running_loop()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._free.release()
            if not answer.done():
                if error is None:
                    answer.set_result(result)
                else:
                    answer.set_exception(error)

        def work() -> None:
            result, error = None, None
            try:
                result = call()
            except BaseException as exc:
                error = exc
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(settle, result, error)

        async with asyncio.timeout(seconds):
            await self._free.acquire()
            answer: asyncio.Future[T | None] = loop.create_future()
            try:
                threading.Thread(target=work, name=self._name, daemon=True).start()
            except BaseException:
                self._free.release()
                raise
            return await answer  # type: ignore[return-value]
