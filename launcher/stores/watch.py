"""The watch on a store: whether it answers, from a ping every few seconds and from the calls that must succeed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from launcher.background import repeat
from launcher.domain.errors import StoreUnavailable
from launcher.metrics import STORE_UP
from launcher.stores.ports import RunStore

PING_INTERVAL_SECONDS = 5.0
_RETRY_MAX_SECONDS = 10.0
log = logging.getLogger(__name__)


class StoreWatch:
    """Whether one store answers. `up` is None until its first answer or error."""

    def __init__(self, name: str, store: RunStore) -> None:
        self.name, self.store = name, store
        self.up: bool | None = None
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Ping the store every few seconds."""
        await repeat(
            f"watch {self.name}", lambda: self.retry_forever(self.store.ping), every_seconds=PING_INTERVAL_SECONDS
        )

    async def retry_forever(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call the store until it answers. While it is down, one caller retries and the others wait.

        Any exception other than `StoreUnavailable` is raised.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(0.2, _RETRY_MAX_SECONDS)
        )
        async with self._turn:
            async for attempt in retrying:
                with attempt:
                    try:
                        await call()
                    except StoreUnavailable as exc:
                        self._set_up(False, str(exc))
                        raise
            self._set_up(True)

    def _set_up(self, up: bool, why: str = "") -> None:
        if up != self.up:
            log.log(logging.INFO if up else logging.WARNING, "%s is %s", self.name, "up" if up else f"down: {why}")
            STORE_UP.labels(self.name).set(up)
        self.up = up
