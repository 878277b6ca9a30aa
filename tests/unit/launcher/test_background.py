"""Background loops go on whatever a round raises, and no task dies in silence."""

from __future__ import annotations

import asyncio
import logging

import pytest

from launcher import background
from launcher.background import Tasks, contained, repeat
from launcher.metrics import FAULTS


def faults(where: str) -> float:
    return FAULTS.labels(where)._value.get()


async def paused(*outcomes: Exception | None, every: float = 5.0, retry: float = 1.0) -> list[float]:
    """Repeat work that ends in these ways; return the pauses."""
    pauses: list[float] = []
    left = list(outcomes)
    over = asyncio.Event()

    async def work() -> None:
        outcome = left.pop(0)
        if outcome is not None:
            raise outcome

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not left:
            over.set()
            await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background.asyncio, "sleep", sleep)
        loop = asyncio.create_task(
            repeat("work", work, every_seconds=every, expected=(ConnectionError,), retry_seconds=retry)
        )
        await over.wait()
        loop.cancel()
    return pauses


def test_work_that_fails_for_an_unknown_reason_is_reported_and_tried_again_ever_less_often() -> None:
    before = faults("work")
    pauses = asyncio.run(paused(*[ValueError("what?")] * 8, None, ValueError("what?"), None))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 5, 1, 5]
    assert faults("work") - before == 9


def test_an_expected_error_is_logged_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = faults("work")
    pauses = asyncio.run(paused(None, ConnectionError("down"), ConnectionError("down"), None, None))
    assert pauses == [5, 1, 1, 5, 5]
    assert caplog.messages == ["work: down", "work: works again"]
    assert faults("work") == before


def test_a_contained_fault_is_reported_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    before = faults("here")
    with contained("here", "run 4711"):
        raise ValueError("what nobody thought of")
    assert faults("here") - before == 1
    assert "run 4711" in caplog.text and "what nobody thought of" in caplog.text


def test_cancelling_is_no_fault() -> None:
    with pytest.raises(asyncio.CancelledError), contained("here"):
        raise asyncio.CancelledError


def test_a_task_that_dies_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def dies() -> None:
        raise ValueError("what nobody thought of")

    async def scenario() -> None:
        tasks = Tasks()
        tasks.start(dies(), "a task")
        await tasks.join()

    asyncio.run(scenario())
    assert "task a task died" in caplog.text and "what nobody thought of" in caplog.text


def test_stopping_ends_every_task_and_joining_waits_for_those_started_meanwhile() -> None:
    async def scenario() -> None:
        tasks, ended = Tasks(), []

        async def second() -> None:
            ended.append("second")

        async def first() -> None:
            tasks.start(second(), "second")
            ended.append("first")

        tasks.start(first(), "first")
        await tasks.join()
        assert ended == ["first", "second"]
        forever = tasks.start(asyncio.sleep(3600), "forever")
        await tasks.stop()
        assert forever.cancelled()

    asyncio.run(scenario())


def test_stopping_also_ends_tasks_that_are_started_while_it_stops() -> None:
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
