"""Background loops continue whatever a round raises, and no task fails silently."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from launcher import background
from launcher.background import Tasks, in_thread, repeat, suppress_and_report
from launcher.metrics import FAULTS


def faults(where: str) -> float:
    return FAULTS.labels(where)._value.get()


async def pauses_after(*outcomes: Exception | None, every: float = 5.0, retry: float = 1.0) -> list[float]:
    """Repeat work with these outcomes; return the pauses between rounds."""
    pauses: list[float] = []
    left = list(outcomes)
    finished = asyncio.Event()

    async def work() -> None:
        outcome = left.pop(0)
        if outcome is not None:
            raise outcome

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not left:
            finished.set()
            await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background.asyncio, "sleep", sleep)
        loop = asyncio.create_task(
            repeat("work", work, every_seconds=every, expected=(ConnectionError,), retry_seconds=retry)
        )
        await finished.wait()
        loop.cancel()
    return pauses


def test_unexpected_failures_are_reported_and_retried_with_growing_pauses() -> None:
    before = faults("work")
    pauses = asyncio.run(pauses_after(*[ValueError("what?")] * 8, None, ValueError("what?"), None))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 5, 1, 5]
    assert faults("work") - before == 9


def test_an_expected_error_is_logged_when_it_starts_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = faults("work")
    pauses = asyncio.run(pauses_after(None, ConnectionError("down"), ConnectionError("down"), None, None))
    assert pauses == [5, 1, 1, 5, 5]
    assert caplog.messages == ["work: down", "work: works again"]
    assert faults("work") == before


def test_a_suppressed_exception_is_reported_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    before = faults("here")
    with suppress_and_report("here", "run 4711"):
        raise ValueError("something unforeseen")
    assert faults("here") - before == 1
    assert "run 4711" in caplog.text and "something unforeseen" in caplog.text


def test_a_cancellation_is_not_a_fault() -> None:
    with pytest.raises(asyncio.CancelledError), suppress_and_report("here"):
        raise asyncio.CancelledError


def test_a_task_that_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("something unforeseen")

    async def scenario() -> None:
        tasks = Tasks()
        tasks.start(fail(), "a task")
        await tasks.join()

    asyncio.run(scenario())
    assert "task a task died" in caplog.text and "something unforeseen" in caplog.text


def test_stop_cancels_every_task_and_join_waits_for_those_started_meanwhile() -> None:
    async def scenario() -> None:
        tasks, finished = Tasks(), []

        async def second() -> None:
            finished.append("second")

        async def first() -> None:
            tasks.start(second(), "second")
            finished.append("first")

        tasks.start(first(), "first")
        await tasks.join()
        assert finished == ["first", "second"]
        forever = tasks.start(asyncio.sleep(3600), "forever")
        await tasks.stop()
        assert forever.cancelled()

    asyncio.run(scenario())


def test_stop_also_cancels_tasks_started_while_it_stops() -> None:
    async def scenario() -> None:
        tasks, late = Tasks(), []

        async def first() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                late.append(tasks.start(asyncio.sleep(3600), "late"))

        tasks.start(first(), "first")
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await tasks.stop()
        assert [task.cancelled() for task in late] == [True]

    asyncio.run(scenario())


def test_a_cancelled_task_waits_for_its_call_in_a_thread() -> None:
    async def scenario() -> None:
        started, gate, done = threading.Event(), threading.Event(), threading.Event()

        def call() -> None:
            started.set()
            assert gate.wait(10)
            done.set()

        task = asyncio.create_task(in_thread(call))
        async with asyncio.timeout(10):
            while not started.is_set():  # the loop continues meanwhile
                await asyncio.sleep(0.001)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.001)
        assert not task.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done.is_set()

    asyncio.run(scenario())


def test_a_call_in_a_thread_returns_or_raises_to_its_caller() -> None:
    async def scenario() -> None:
        assert await in_thread(max, 1, 2) == 2
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 1, 0)

    asyncio.run(scenario())
