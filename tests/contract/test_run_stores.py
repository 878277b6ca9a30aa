"""What every `RunStore` guarantees, in memory, in Redis and in MongoDB."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from launcher.domain.log_lines import Gap, Receipt
from launcher.domain.reasons import Reason, sentence
from launcher.domain.runs import Outcome, Run, RunStatus
from launcher.stores import redis
from launcher.stores.ports import RunQuery

AT = datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)


def queued(name: str, *, minutes: int = 0, **fields: Any) -> Run:
    at = AT + timedelta(minutes=minutes)
    return Run(**{"run_id": name, "job_id": "4711", "created_at": at, "updated_at": at, **fields})


def completed(run: Run, *, minutes: int = 1) -> Run:
    at = run.created_at + timedelta(minutes=minutes)
    outcome = Outcome(
        status=RunStatus.COMPLETED, reason=Reason.COMPLETED, message=sentence(Reason.COMPLETED), exit_code=0
    )
    gap = Gap(first=3, last=3, why="The disk refused lines.")
    receipt = Receipt(lines=4, bytes=99, complete=False, gaps=(gap,))
    return run.started(at).finished(outcome, at, receipt, {"cv_md_url": "firma/rolle/CV.md"})


def test_a_stored_run_is_read_back_unchanged(run_store: Any) -> None:
    async def check() -> None:
        async with run_store() as store:
            run = completed(queued("a-1", profile_ref="senior", params={"ü": "✓", "n": 1.5, "yes": True}, priority=-3))
            assert await store.put(run)
            assert await store.get("a-1") == run
            assert await store.get("a-2") is None

    asyncio.run(check())


def test_a_terminal_state_never_changes(run_store: Any) -> None:
    async def check() -> None:
        async with run_store() as store:
            run = queued("a-1")
            end = completed(run)
            for state in (run, run.started(AT), end, run, run.started(AT), completed(run.cancelling(AT), minutes=9)):
                await store.put(state)
            assert await store.get("a-1") == end

    asyncio.run(check())


def test_the_latest_state_is_kept_whatever_the_order(run_store: Any) -> None:
    async def check() -> None:
        async with run_store() as store:
            for number in range(10):
                run = queued(f"a-{number}")
                states = [run, run.started(AT), run.started(AT).cancelling(AT)]
                random.Random(number).shuffle(states)
                for state in states:
                    await store.put(state)
                stored = await store.get(run.run_id)
                assert stored is not None and stored.revision == 3

    asyncio.run(check())


def test_one_of_several_concurrent_writers_wins(run_store: Any) -> None:
    async def check() -> None:
        async with run_store() as store:
            run = queued("a-1")
            await store.put(run)
            rivals = [completed(run, minutes=minutes) for minutes in range(1, 9)]
            accepted = await asyncio.gather(*(store.put(rival) for rival in rivals))
            assert accepted.count(True) == 1
            assert await store.get("a-1") == rivals[accepted.index(True)]

    asyncio.run(check())


def test_runs_are_listed_newest_first_page_by_page(run_store: Any) -> None:
    async def check() -> None:
        async with run_store() as store:
            for minutes in range(7):
                run = queued(f"a-{minutes}", minutes=minutes, job_id="x" if minutes % 2 else "y")
                await store.put(completed(run) if minutes == 5 else run)
            runs, total = await store.find(RunQuery(page=2, per_page=3))
            assert ([run.run_id for run in runs], total) == (["a-3", "a-2", "a-1"], 7)
            runs, total = await store.find(RunQuery(job_id="x", status=RunStatus.QUEUED))
            assert ([run.run_id for run in runs], total) == (["a-3", "a-1"], 2)
            assert await store.find(RunQuery(pipeline="other")) == ([], 0)

    asyncio.run(check())


def test_revisions_of_stored_runs_are_returned(run_store: Any) -> None:
    async def check() -> None:
        async with run_store() as store:
            await store.put(queued("a-1").started(AT))
            assert await store.revisions(["a-1", "a-2"]) == {"a-1": 2}
            assert await store.revisions([]) == {}

    asyncio.run(check())


def test_only_runs_that_finished_before_the_cutoff_are_deleted(run_store: Any) -> None:
    async def check() -> None:
        async with run_store() as store:
            old, new, waiting = completed(queued("a-1")), completed(queued("a-2"), minutes=60), queued("a-3")
            for run in (old, new, waiting):
                await store.put(run)
            assert await store.delete_finished_before(AT + timedelta(minutes=30)) == 1
            assert await store.get("a-1") is None
            assert (await store.find(RunQuery()))[1] == 2

    asyncio.run(check())


def test_runs_are_counted_between_edges_by_status_to_the_microsecond(run_store: Any) -> None:
    edges = [datetime(2026, 11, 24, hour, tzinfo=UTC) for hour in (7, 8, 9, 20)]

    def requested(name: str, at: datetime) -> Run:
        return Run(run_id=name, job_id="4711", created_at=at, updated_at=at)

    async def check() -> None:
        async with run_store() as store:
            tick = timedelta(microseconds=1)
            assert [sum(counts.values()) for counts in await store.count_between(edges)] == [0, 0, 0]
            for number, edge in enumerate(edges):
                for name, at in (("before", edge - tick), ("at", edge), ("after", edge + tick)):
                    await store.put(requested(f"{name}-{number}", at))
            for number in range(600):
                run = requested(f"many-{number}", edges[1] + timedelta(seconds=number))
                await store.put(completed(run) if number % 3 else run)
            counted = await store.count_between(edges)
            assert [counts[RunStatus.QUEUED] for counts in counted] == [3, 203, 3]
            assert [counts.get(RunStatus.COMPLETED, 0) for counts in counted] == [0, 400, 0]
            assert [counts.get(RunStatus.FAILED, 0) for counts in counted] == [0, 0, 0]

    asyncio.run(check())


def test_an_unreadable_record_in_redis_affects_only_its_own_run(redis_url: str) -> None:
    async def check() -> None:
        async with redis.connect(redis_url) as client:
            store = redis.RedisRunStore(client, ttl_seconds=3600)
            for name in ("a-1", "a-2"):
                await store.put(queued(name))
            await client.hset("slipway:run:a-1", "document", "written by hand")
            assert await store.get("a-1") is None
            assert await store.find(RunQuery()) == ([queued("a-2")], 1)
            edges = [AT.replace(microsecond=0), AT.replace(microsecond=0) + timedelta(hours=1)]
            assert await store.count_between(edges) == [{RunStatus.QUEUED: 1}]

    asyncio.run(check())
