"""Threads for calls that may hang, as a disk does: neither the other pools nor the process's end waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Runs calls in daemon threads, at most so many at a time. A call that hangs keeps its place, and nothing else."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._free = asyncio.Semaphore(most)

    async def run(self, call: Callable[[], T], *, seconds: float) -> T:
        """Return what the call returns. Raises `TimeoutError` where no thread was free, or the call did not end."""
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
            with suppress(RuntimeError):  # the loop has ended meanwhile
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
