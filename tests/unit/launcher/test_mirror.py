"""The mirror of a store and the watch on it: one retries while the store is down, and each has its own errors."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from launcher.background import Tasks
from launcher.domain.errors import StoreUnavailable
from launcher.domain.runs import Run
from launcher.metrics import FAULTS
from launcher.mirror import Mirror
from launcher.stores import watch as watch_module
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.watch import StoreWatch

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
RUN = Run(run_id="a", job_id="1", created_at=AT, updated_at=AT)


class Store(InMemoryRunStore):
    """Counts the calls, and raises the given exceptions."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, Exception] = {}

    async def ping(self) -> None:
        self._call("ping")

    async def put(self, run: Run) -> bool:
        self._call("put")
        return await super().put(run)

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        if name in self.faults:
            raise self.faults[name]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "PING_INTERVAL_SECONDS", 0.005)
    monkeypatch.setattr(watch_module, "_RETRY_MAX_SECONDS", 0.005)


def run_scenario(scenario: Callable[[Store, StoreWatch, Mirror], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(10):
            store, tasks = Store(), Tasks()
            stack.push_async_callback(tasks.stop)
            watch = StoreWatch("store", store)
            mirror = Mirror(watch)
            tasks.start(watch.run(), "watch")
            tasks.start(mirror.run(), "mirror")
            await scenario(store, watch, mirror)

    asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_one_task_retries_while_a_store_is_down() -> None:
    async def scenario(store: Store, watch: StoreWatch, mirror: Mirror) -> None:
        store.faults = dict.fromkeys(("ping", "put"), StoreUnavailable("down"))
        await until(lambda: watch.up is False)
        store.calls.clear()
        mirror.enqueue(RUN)
        await until(lambda: store.calls.total() >= 10)
        assert len(store.calls) == 1
        store.faults.clear()
        await until(lambda: not mirror.backlog)
        assert watch.up

    run_scenario(scenario)


def test_a_store_that_answers_pings_but_takes_no_writes_is_down_until_it_does() -> None:
    async def scenario(store: Store, watch: StoreWatch, mirror: Mirror) -> None:
        await until(lambda: watch.up)
        store.faults["put"] = StoreUnavailable("out of memory")
        mirror.enqueue(RUN)
        await until(lambda: store.calls["put"])
        while store.calls["put"] < 10:
            assert watch.up is False
            await asyncio.sleep(0.001)
        store.faults.clear()
        await until(lambda: watch.up)
        assert mirror.backlog == 0

    run_scenario(scenario)


def test_an_unexpected_error_of_a_ping_delays_no_delivery_and_is_counted_apart() -> None:
    def faults(where: str) -> float:
        return FAULTS.labels(where)._value.get()

    async def scenario(store: Store, watch: StoreWatch, mirror: Mirror) -> None:
        before = faults("watch store"), faults("mirror store")
        store.faults["ping"] = RuntimeError("something unforeseen")
        await until(lambda: faults("watch store") > before[0])
        mirror.enqueue(RUN)
        await until(lambda: not mirror.backlog)
        assert faults("mirror store") == before[1]
        store.faults["put"] = RuntimeError("something unforeseen")
        mirror.enqueue(replace(RUN, run_id="b"))
        await until(lambda: not mirror.backlog)  # dropped after a few tries
        assert faults("mirror store") == before[1] + 3

    run_scenario(scenario)


def test_a_state_that_is_delivered_while_the_store_is_asked_was_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: Store, watch: StoreWatch, mirror: Mirror) -> None:
        revisions = store.revisions

        async def answered_late(run_ids: Sequence[str]) -> dict[str, int]:
            found = await revisions(run_ids)
            await until(lambda: not mirror.backlog)
            return found

        monkeypatch.setattr(store, "revisions", answered_late)
        mirror.enqueue(RUN)
        assert await mirror.reconcile([RUN]) == 0
        assert store.calls["put"] == 1

    run_scenario(scenario)
