"""The local engine with real child processes: its queue, its pause switch, what a restart finds, retention."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from launcher.domain.errors import (
    ArchiveUnavailable,
    IdempotencyConflict,
    QueueFull,
    RunNotFound,
    StoreUnavailable,
)
from launcher.domain.outcomes import cancelled_before_start
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run, RunStatus, now
from launcher.engines import local
from launcher.engines.local import LocalEngine
from launcher.engines.recovery import LAUNCHER_STOPPED
from launcher.settings import Settings
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.ports import RunQuery
from launcher.stores.watch import StoreWatch
from launcher.wiring import Recording, Storage, open_recording, open_storage

PIPELINES = {
    "quick": {"command": ["/bin/echo", "a line"], "artifacts": {}},
    "lasting": {"command": ["/bin/sleep", "60"], "artifacts": {}},
}


class Harness:
    """Launchers that use the same folders, one after the other."""

    def __init__(self, folder: Path, stack: AsyncExitStack, **environ: str) -> None:
        (folder / "pipelines.yaml").write_text(yaml.safe_dump(PIPELINES))
        self.settings = Settings.from_environment(
            {
                "RUNNER_API_SECRET": "0123456789abcdef0123456789abcdef",
                "ARCHIVE_DIR": f"{folder}/archive",
                "APPLICATIONS_DIR": f"{folder}/applications",
                "PIPELINES_FILE": f"{folder}/pipelines.yaml",
                "PIPELINE_DIR": str(folder),
                "TERMINATION_GRACE_SECONDS": "0",
                **environ,
            }
        )
        self.storage: Storage = open_storage(self.settings, stack)
        self.recording: Recording = open_recording(self.settings, self.storage)
        self.engine = LocalEngine(self.settings, self.storage, self.recording, os.environ)

    async def restart(self) -> None:
        await self.engine.stop()
        self.engine = LocalEngine(self.settings, self.storage, self.recording, os.environ)
        await self.engine.start()

    async def until(self, run_id: str, *statuses: RunStatus) -> Run:
        while (run := await self.engine.get(run_id)).status not in statuses:
            await asyncio.sleep(0.005)
        return run


def requested(name: str, pipeline: str = "quick", **fields: object) -> Run:
    values = {"run_id": f"{name}-01jd", "job_id": name, "pipeline": pipeline, "created_at": now(), "updated_at": now()}
    return Run(**{**values, **fields})  # type: ignore[arg-type]


def run_scenario(
    folder: Path, scenario: Callable[[Harness], Awaitable[None]], *, start: bool = True, **environ: str
) -> None:
    async def bounded() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(20):
            harness = Harness(folder, stack, **environ)
            if start:
                await harness.engine.start()
            try:
                await scenario(harness)
            finally:
                await harness.engine.stop()
                await harness.recording.publisher.stop()

    asyncio.run(bounded())


def test_a_run_is_executed_and_its_slot_is_released(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        run = await harness.engine.submit(requested("1"))
        done = await harness.until(run.run_id, RunStatus.COMPLETED)
        assert (done.log.lines, done.log.complete) == (2, True)
        assert harness.storage.archive.get(run.run_id) == done
        while harness.engine.cached_queue().active:
            await asyncio.sleep(0.005)
        assert await harness.engine.find(RunQuery()) == ([done], 1)
        with pytest.raises(RunNotFound):
            await harness.engine.get("../1-01jd")

    run_scenario(tmp_path, scenario)


def test_a_retried_request_returns_its_run_even_after_a_restart(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        first = requested("1", idempotency_hash="ab", request_hash="r")
        await harness.engine.submit(first)
        for _ in range(2):
            retry = requested("2", idempotency_hash="ab", request_hash="r")
            assert (await harness.engine.submit(retry)).run_id == first.run_id
            with pytest.raises(IdempotencyConflict):
                await harness.engine.submit(replace(retry, request_hash="another"))
            await harness.until(first.run_id, RunStatus.COMPLETED)
            await harness.restart()

    run_scenario(tmp_path, scenario)


def test_a_full_queue_refuses_a_run(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.engine.pause(True)
        await harness.engine.submit(requested("1"))
        with pytest.raises(QueueFull):
            await harness.engine.submit(requested("2"))

    run_scenario(tmp_path, scenario, MAX_QUEUED="1")


def test_queue_positions_and_etas_are_based_on_previous_runs(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        done = await harness.engine.submit(requested("1"))
        await harness.until(done.run_id, RunStatus.COMPLETED)
        active = await harness.engine.submit(requested("2", "lasting"))
        runs = [await harness.engine.submit(requested(name)) for name in "34"]
        assert await harness.engine.place(active.run_id) is None
        places = [await harness.engine.place(run.run_id) for run in runs]
        assert [place and place.position for place in places] == [1, 2]
        assert [place and place.eta_seconds is not None for place in places] == [True, True]

    run_scenario(tmp_path, scenario, MAX_CONCURRENCY="1")


def test_queued_and_running_runs_can_be_cancelled_and_finished_ones_stay(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        running = await harness.engine.submit(requested("1", "lasting"))
        queued = await harness.engine.submit(requested("2"))
        await harness.until(running.run_id, RunStatus.RUNNING)
        cancelled = await harness.engine.cancel(queued.run_id)
        assert (cancelled.status, cancelled.message) == (RunStatus.CANCELLED, cancelled_before_start().message)
        assert (await harness.engine.cancel(running.run_id)).cancel_requested
        stopped = await harness.until(running.run_id, RunStatus.CANCELLED)
        assert (stopped.reason, stopped.cancel_requested) == (Reason.CANCELLED, True)
        assert await harness.engine.cancel(running.run_id) == stopped

    run_scenario(tmp_path, scenario, MAX_CONCURRENCY="1")


def test_a_run_cancelled_between_its_admission_and_its_start_never_starts(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        run = await harness.engine.submit(requested("1", "lasting"))  # admitted; its task has not run yet
        assert harness.engine.cached_queue().active == 1
        cancelling = await harness.engine.cancel(run.run_id)
        assert (cancelling.status, cancelling.cancel_requested) == (RunStatus.QUEUED, True)
        cancelled = await harness.until(run.run_id, RunStatus.CANCELLED)
        assert (cancelled.started_at, cancelled.exit_code, cancelled.cancel_requested) == (None, None, True)
        assert harness.storage.archive.get(run.run_id) == cancelled

    run_scenario(tmp_path, scenario)


def test_a_restart_keeps_the_queue_and_fails_running_runs(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        running = await harness.engine.submit(requested("1", "lasting"))
        queued = await harness.engine.submit(requested("2"))
        await harness.until(running.run_id, RunStatus.RUNNING)
        await harness.engine.pause(True)
        await harness.restart()
        assert (await harness.engine.get(running.run_id)).reason == Reason.LAUNCHER_LOST
        assert harness.engine.cached_queue() == replace(harness.engine.cached_queue(), active=0, queued=1, paused=True)
        await harness.engine.pause(False)
        await harness.until(queued.run_id, RunStatus.COMPLETED)

    run_scenario(tmp_path, scenario, MAX_CONCURRENCY="1")


def test_a_run_of_a_killed_launcher_fails_with_a_marker_in_its_log(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        harness.storage.archive.put(requested("1").started(now()))
        await harness.engine.start()
        lost = await harness.engine.get("1-01jd")
        assert (lost.status, lost.reason, lost.log.complete) == (RunStatus.FAILED, Reason.LAUNCHER_LOST, False)
        assert LAUNCHER_STOPPED.encode() in harness.storage.archive.read("1-01jd", 0)[-1].data

    run_scenario(tmp_path, scenario, start=False)


@pytest.mark.parametrize("redis_down", [False, True])
def test_queued_runs_are_restored_from_redis_if_the_archive_is_lost(tmp_path: Path, redis_down: bool) -> None:
    class Redis(InMemoryRunStore):
        async def find(self, query: RunQuery) -> tuple[list[Run], int]:
            if redis_down:
                raise StoreUnavailable("down")
            return await super().find(query)

    async def scenario(harness: Harness) -> None:
        redis = Redis()
        await redis.put(requested("1"))
        harness.storage = replace(harness.storage, shared=redis)
        await harness.restart()
        if redis_down:
            assert harness.engine.cached_queue().queued == 0
        else:
            await harness.until("1-01jd", RunStatus.COMPLETED)

    run_scenario(tmp_path, scenario)


def test_a_folder_in_place_of_the_pause_file_is_a_clear_error_and_no_pause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "archive" / "paused").mkdir(parents=True)

    async def scenario(harness: Harness) -> None:
        assert not harness.engine.cached_queue().paused
        assert "archive/paused is a folder. Remove it" in caplog.text
        for paused in (True, False):
            with pytest.raises(ArchiveUnavailable, match=r"archive/paused is a folder\. Remove it"):
                await harness.engine.pause(paused)
        run = await harness.engine.submit(requested("1"))
        await harness.until(run.run_id, RunStatus.COMPLETED)
        (tmp_path / "archive" / "paused").rmdir()
        await harness.engine.pause(True)
        assert harness.engine.cached_queue().paused

    run_scenario(tmp_path, scenario)


def test_retention_forgets_deleted_runs_and_retries_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_RETENTION_RETRY_SECONDS", 0.02)

    class Redis(InMemoryRunStore):
        rounds = 0

        async def delete_finished_before(self, moment: datetime) -> int:
            self.rounds += 1
            if self.rounds < 3:
                raise StoreUnavailable("down")
            return await super().delete_finished_before(moment)

    async def scenario(harness: Harness) -> None:
        old = now() - timedelta(days=9)
        for name in ("1", "2"):
            run = requested(name, created_at=old, updated_at=old, idempotency_hash=name)
            harness.storage.archive.put(run.finished(cancelled_before_start(), old, run.log))
        redis, delete = Redis(), harness.storage.artifacts.delete
        harness.storage = replace(harness.storage, watches={"redis": StoreWatch("redis", redis)})

        async def delete_later(run_id: str) -> bool:
            return await delete(run_id) if run_id == "1-01jd" or redis.rounds else False

        monkeypatch.setattr(harness.storage.artifacts, "delete", delete_later)
        await harness.restart()
        assert (await harness.engine.find(RunQuery()))[1] == 2
        while redis.rounds < 1:
            await asyncio.sleep(0)
        found, _ = await harness.engine.find(RunQuery())
        assert [run.run_id for run in found] == ["2-01jd"]  # whose key is still in use
        retry = requested("2", idempotency_hash="2")
        assert (await harness.engine.submit(retry)).status is RunStatus.CANCELLED
        while redis.rounds < 3:
            await asyncio.sleep(0.005)
        assert (await harness.engine.find(RunQuery()))[1] == 0
        assert not list(harness.storage.archive.runs())

    run_scenario(tmp_path, scenario, RETENTION_DAYS="1")
