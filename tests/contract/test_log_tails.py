"""What every `LogTail` guarantees, in memory and in Redis."""

from __future__ import annotations

import asyncio
from typing import Any

from launcher.domain.log_lines import LineKind, LogLine

LIMIT = 50


def lines(first: int, last: int) -> list[LogLine]:
    stamp = "2026-11-24T08:00:00.000000001Z"
    return [LogLine(n, stamp, LineKind.LINE, b"line %d \xff\x00\r" % n) for n in range(first, last + 1)]


def test_lines_are_read_back_as_published(log_tail: Any) -> None:
    async def check() -> None:
        async with log_tail() as tail:
            await tail.publish("a", lines(1, 10))
            assert await tail.read("a", 0, wait_seconds=0) == lines(1, 10)
            assert await tail.read("a", 7, wait_seconds=0) == lines(8, 10)
            assert await tail.read("a", 10, wait_seconds=0) == []
            assert await tail.read("b", 0, wait_seconds=0) == []

    asyncio.run(check())


def test_a_line_published_twice_is_stored_once(log_tail: Any) -> None:
    async def check() -> None:
        async with log_tail() as tail:
            await tail.publish("a", lines(1, 10))
            await tail.publish("a", lines(5, 15))
            assert await tail.read("a", 0, wait_seconds=0) == lines(1, 15)
            assert await tail.last_number("a") == 15
            assert await tail.last_number("b") == 0

    asyncio.run(check())


def test_only_the_newest_lines_are_kept(log_tail: Any) -> None:
    async def check() -> None:
        async with log_tail() as tail:
            await tail.publish("a", lines(1, 2000))
            found = await tail.read("a", 0, wait_seconds=0)
            assert LIMIT <= len(found) <= LIMIT + 200  # Redis trims whole nodes
            assert found == lines(2001 - len(found), 2000)

    asyncio.run(check())


def test_a_new_line_wakes_waiting_readers(log_tail: Any) -> None:
    async def check() -> None:
        async with log_tail() as tail:
            waiting = [asyncio.create_task(tail.read("a", 0, wait_seconds=30)) for _ in range(3)]
            await asyncio.sleep(0)
            await tail.publish("a", lines(1, 1))
            async with asyncio.timeout(10):
                found = await asyncio.gather(*waiting)
            assert [line for each in found for line in each] == lines(1, 1) * 3

    asyncio.run(check())


def test_a_reader_waits_no_longer_than_its_limit(log_tail: Any) -> None:
    async def check() -> None:
        async with log_tail() as tail:
            async with asyncio.timeout(10):
                assert await tail.read("a", 0, wait_seconds=0.05) == []

    asyncio.run(check())


def test_a_finished_log_is_read_whole_or_not_at_all(log_tail: Any) -> None:
    async def check() -> None:
        async with log_tail() as tail:
            await tail.publish("a", lines(1, 3))
            await tail.finish("a")
            assert await tail.read("a", 0, wait_seconds=0) in (lines(1, 3), [])

    asyncio.run(check())


def test_replacing_lines_leaves_no_hole(log_tail: Any) -> None:
    async def check() -> None:
        async with log_tail() as tail:
            await tail.publish("a", lines(1, 20))
            await tail.publish("a", lines(100, 110), replace=True)
            await tail.publish("a", lines(15, 112))  # older lines are no longer accepted
            assert await tail.read("a", 0, wait_seconds=0) == lines(100, 112)

    asyncio.run(check())
