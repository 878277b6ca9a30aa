"""The Kubernetes engine on a fake cluster: what it creates, where it finds runs, what it shows during an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from launcher.cluster import jobs, labels, manifests
from launcher.cluster.port import Listing, Manifest, WatchEvent
from launcher.domain.errors import (
    ClusterUnavailable,
    IdempotencyConflict,
    QueueFull,
    RunNotFound,
    StoreUnavailable,
)
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import completed
from launcher.domain.queue_places import OPERATOR_DOWN, OPERATOR_DOWN_WITH_SLOT, PAUSED
from launcher.domain.runs import Run, RunStatus, now
from launcher.engines import queue_view
from launcher.engines.kubernetes import KubernetesEngine
from launcher.engines.operator_liveness import OperatorLiveness
from launcher.settings import Settings
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.ports import RunQuery
from launcher.wiring import Storage, open_storage
from launching.fake_cluster import FakeCluster, merged
from pipeline_operator.cluster_cache import ClusterCache


@pytest.fixture(autouse=True)
def no_caching(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is listed on every call, unless a test says otherwise."""
    monkeypatch.setattr(queue_view, "_FRESH_SECONDS", 0.0)


class CountedStore(InMemoryRunStore):
    """Counts its reads, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.fault = 0, False

    async def get(self, run_id: str) -> Run | None:
        self.reads += 1
        if self.fault:
            raise StoreUnavailable("down")
        return await super().get(run_id)

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        if self.fault:
            raise StoreUnavailable("down")
        return await super().find(query)


class Harness:
    """An engine, its cluster and its stores."""

    def __init__(self, folder: Path, stack: AsyncExitStack, **environ: str) -> None:
        self.settings = Settings.from_environment(
            {
                "RUNNER_API_SECRET": "0123456789abcdef0123456789abcdef",
                "ENGINE": "kubernetes",
                "ARCHIVE_DIR": f"{folder}/archive",
                "APPLICATIONS_DIR": f"{folder}/applications",
                **environ,
            }
        )
        self.cluster = FakeCluster(ClusterCache())
        self.cluster.put("ConfigMap", {"metadata": {"name": labels.QUEUE}, "data": {}})
        self.redis, self.history = CountedStore(), CountedStore()
        self.storage: Storage = replace(open_storage(self.settings, stack), shared=self.redis, history=self.history)
        self.engine = KubernetesEngine(self.settings, self.cluster, self.storage)

    def release(self, run_id: str) -> None:
        job = self.cluster.objects["Job", run_id]
        self.cluster.put("Job", merged(job, manifests.release_patch(job)))

    def start_outage(self, times: int = 9) -> None:
        """Make the next calls of each kind to Kubernetes fail."""
        for call in ("get", "list", "create", "patch"):
            self.cluster.faults[call] = [ClusterUnavailable() for _ in range(times)]

    def end_outage(self) -> None:
        self.cluster.faults.clear()


def requested(name: str, **fields: object) -> Run:
    values = {"run_id": f"{name}-01jd", "job_id": name, "created_at": now(), "updated_at": now(), **fields}
    return Run(**values)  # type: ignore[arg-type]


def keyed(name: str, request: str = "r") -> Run:
    return requested(name, idempotency_hash="ab" * 32, request_hash=request)


def finished(run: Run, seconds: float = 10.0) -> Run:
    at = now()
    return run.started(at - timedelta(seconds=seconds)).finished(completed(), at, Receipt())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def counts(harness: Harness) -> tuple[int, int]:
    """The numbers of released and of waiting runs."""
    state = harness.engine.cached_queue()
    return state.active, state.queued


def record(harness: Harness, run_id: str) -> None:
    """Write a final record to a Job, as the operator does."""
    job = harness.cluster.objects["Job", run_id]
    run = finished(requested(run_id.removesuffix("-01jd")))
    harness.cluster.put("Job", merged(job, manifests.record_patch(job, run, 60)))


async def submitted(harness: Harness, run: Run) -> Run:
    """Submit a run as soon as Kubernetes answers."""
    while True:
        try:
            return await harness.engine.submit(run)
        except ClusterUnavailable:
            await asyncio.sleep(0.005)


def run_scenario(folder: Path, scenario: Callable[[Harness], Awaitable[None]], **environ: str) -> None:
    async def bounded() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(20):
            harness = Harness(folder, stack, **environ)
            await scenario(harness)

    asyncio.run(bounded())


def test_a_submitted_run_is_a_suspended_job_and_visible_at_once(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.engine.queue()
        run = await harness.engine.submit(requested("1"))
        job = harness.cluster.objects["Job", run.run_id]
        assert jobs.suspended(job) and jobs.phase_of(job) == labels.PHASE_QUEUED
        assert (await harness.engine.get(run.run_id)).status is RunStatus.QUEUED
        assert harness.engine.cached_queue().queued == 1
        place = await harness.engine.place(run.run_id)
        assert place and (place.position, place.eta_seconds) == (1, None)

    run_scenario(tmp_path, scenario)


@pytest.mark.parametrize("where", ["its Job", "a store", "the label", "a race"])
def test_a_retried_request_returns_its_run_and_a_different_one_with_its_key_conflicts(
    tmp_path: Path, where: str
) -> None:
    async def scenario(harness: Harness) -> None:
        first = keyed("1")
        retry, different = keyed("1"), keyed("1", request="another")
        if where == "a store":
            await harness.history.put(finished(first))
        else:
            await harness.engine.submit(first)
        if where == "the label":  # another job_id: the name differs, the key does not
            retry, different = replace(retry, run_id="2-01jd"), replace(different, run_id="2-01jd")
        if where == "a race":  # both have found nothing before one of them creates the Job
            retry, different = replace(retry, idempotency_hash=None), replace(different, idempotency_hash=None)
        assert (await harness.engine.submit(retry)).run_id == first.run_id
        with pytest.raises(IdempotencyConflict):
            await harness.engine.submit(different)
        assert len([kind for kind, _ in harness.cluster.objects if kind == "Job"]) == (0 if where == "a store" else 1)

    run_scenario(tmp_path, scenario)


def test_a_full_queue_refuses_a_run(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        for name in ("1", "2"):
            await harness.engine.submit(requested(name))
        with pytest.raises(QueueFull):
            await harness.engine.submit(requested("3"))
        harness.release("1-01jd")
        await harness.engine.submit(requested("3"))

    run_scenario(tmp_path, scenario, MAX_QUEUED="2")


@pytest.mark.parametrize("where", ["redis", "cluster", "archive", "history"])
def test_a_run_is_found_wherever_it_is_stored(tmp_path: Path, where: str) -> None:
    async def scenario(harness: Harness) -> None:
        run = requested("1")
        match where:
            case "redis":
                await harness.redis.put(run)
            case "cluster":
                await harness.engine.submit(run)
            case "archive":
                harness.storage.archive.put(run)
            case "history":
                await harness.history.put(run)
        assert (await harness.engine.get(run.run_id)).run_id == run.run_id
        for unknown in ("2-01jd", "../1-01jd", ""):
            with pytest.raises(RunNotFound):
                await harness.engine.get(unknown)

    run_scenario(tmp_path, scenario)


@pytest.mark.parametrize("where", ["redis", "cluster"])
def test_a_later_state_in_the_archive_wins(tmp_path: Path, where: str) -> None:
    async def scenario(harness: Harness) -> None:
        run = requested("1")
        await (harness.redis.put(run) if where == "redis" else harness.engine.submit(run))
        harness.storage.archive.put(run.started(now()))
        assert (await harness.engine.get(run.run_id)).status is RunStatus.RUNNING

    run_scenario(tmp_path, scenario)


def test_a_job_that_is_not_a_run_is_not_found(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        harness.cluster.put("Job", {"metadata": {"name": "backup"}, "spec": {}})
        with pytest.raises(RunNotFound):
            await harness.engine.get("backup")

    run_scenario(tmp_path, scenario)


def test_a_store_that_failed_is_not_queried_again_at_once(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        harness.redis.fault = True
        run = await harness.engine.submit(requested("1"))
        for _ in range(5):
            await harness.engine.get(run.run_id)
        assert harness.redis.reads == 1

    run_scenario(tmp_path, scenario)


def test_a_cluster_outage_refuses_new_runs_and_shows_the_stored_ones(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        queued = await harness.engine.submit(requested("1"))
        await harness.engine.queue()
        await harness.history.put(done := finished(requested("2")))
        harness.start_outage()
        with pytest.raises(ClusterUnavailable):
            await harness.engine.submit(requested("3"))
        with pytest.raises(ClusterUnavailable):
            await harness.engine.get(queued.run_id)
        assert await harness.engine.get(done.run_id) == done
        assert await harness.engine.find(RunQuery()) == ([done], 1)
        state = await harness.engine.queue()
        assert (state.cluster, state.queued) == ("away", 1)
        harness.end_outage()
        assert (await harness.engine.queue()).cluster == "ok"
        assert (await harness.engine.find(RunQuery()))[1] == 2

    run_scenario(tmp_path, scenario)


def test_a_cancellation_is_stored_on_the_job_once(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        run = await harness.engine.submit(requested("1"))
        assert (await harness.engine.cancel(run.run_id)).cancel_requested
        assert jobs.cancel_requested(harness.cluster.objects["Job", run.run_id])
        patches = harness.cluster.calls.count("patch Job")
        assert (await harness.engine.cancel(run.run_id)).cancel_requested
        assert harness.cluster.calls.count("patch Job") == patches
        await harness.history.put(done := finished(requested("2")))
        assert await harness.engine.cancel(done.run_id) == done
        with pytest.raises(RunNotFound):
            await harness.engine.cancel("3-01jd")

    run_scenario(tmp_path, scenario)


def test_cancelling_a_run_whose_job_is_deleted_returns_its_outcome(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        run = requested("1")
        await harness.redis.put(run)  # which lacks the outcome
        harness.storage.archive.put(done := finished(run))
        assert await harness.engine.cancel(run.run_id) == done

    run_scenario(tmp_path, scenario)


@pytest.mark.parametrize("history", ["up", "down", "faulty", "off"])
def test_pages_list_every_run_once_live_ones_first(tmp_path: Path, history: str) -> None:
    async def scenario(harness: Harness) -> None:
        old = [
            finished(requested(f"old-{number}", created_at=now() + timedelta(seconds=number))) for number in range(5)
        ]
        for run in old:
            await harness.history.put(run)
            harness.storage.archive.put(run)
        live = await harness.engine.submit(requested("live"))
        other = await harness.engine.submit(requested("other", pipeline="default"))
        if history == "down":
            harness.history.fault = True
        elif history == "faulty":
            harness.history.find = None  # type: ignore[assignment, method-assign]
        elif history == "off":
            harness.engine = KubernetesEngine(harness.settings, harness.cluster, replace(harness.storage, history=None))
        first, total = await harness.engine.find(RunQuery(per_page=3))
        rest, _ = await harness.engine.find(RunQuery(per_page=3, page=2))
        assert total == 7
        assert [run.run_id for run in first[:2]] == [other.run_id, live.run_id]
        assert [run.run_id for run in [*first[2:], *rest]] == [run.run_id for run in reversed(old)]
        [found], total = await harness.engine.find(RunQuery(job_id="live"))
        assert (found.run_id, total) == (live.run_id, 1)

    run_scenario(tmp_path, scenario)


def test_queue_positions_and_etas_depend_on_who_has_a_slot(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        harness.storage.archive.put(finished(requested("before"), seconds=60))
        runs = [
            await harness.engine.submit(requested(str(number), created_at=now() + timedelta(seconds=number)))
            for number in range(3)
        ]
        harness.release(runs[0].run_id)
        pending = await harness.engine.place(runs[0].run_id)
        assert pending and (pending.position, pending.eta_seconds) == (0, 0.0)
        harness.storage.archive.put(runs[0].started(now() - timedelta(seconds=20)))
        assert await harness.engine.place(runs[0].run_id) is None
        places = [await harness.engine.place(run.run_id) for run in runs[1:]]
        assert [place and place.position for place in places] == [1, 2]
        assert [place and place.eta_seconds for place in places] == [
            pytest.approx(40, abs=2),
            pytest.approx(100, abs=2),
        ]
        assert await harness.engine.place("unknown-01jd") is None

    run_scenario(tmp_path, scenario, MAX_CONCURRENCY="1")


def test_while_the_operator_is_down_every_waiting_run_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OperatorLiveness, "state", "away")

    async def scenario(harness: Harness) -> None:
        runs = [await harness.engine.submit(requested(name)) for name in "12"]
        harness.release("1-01jd")
        for run, why in zip(runs, (OPERATOR_DOWN_WITH_SLOT, OPERATOR_DOWN), strict=True):
            place = await harness.engine.place(run.run_id)
            assert place and (place.eta_seconds, place.why) == (None, why)
        assert (await harness.engine.queue()).operator == "away"

    run_scenario(tmp_path, scenario)


def test_a_pause_is_stored_in_the_cluster_and_shown_at_once(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        run = await harness.engine.submit(requested("1"))
        for paused in (True, False):
            await harness.engine.pause(paused)
            assert (await harness.engine.queue()).paused is paused
            place = await harness.engine.place(run.run_id)
            assert place and (place.why == PAUSED) is paused

    run_scenario(tmp_path, scenario)


def test_concurrent_queries_list_the_jobs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_view, "_FRESH_SECONDS", 60.0)

    async def scenario(harness: Harness) -> None:
        run = await harness.engine.submit(requested("1"))
        before = harness.cluster.calls.count("list Job")
        await asyncio.gather(*(harness.engine.place(run.run_id) for _ in range(50)), harness.engine.queue())
        assert harness.cluster.calls.count("list Job") == before == 1

    run_scenario(tmp_path, scenario)


def test_a_watch_shows_every_change_and_the_jobs_are_listed_once(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.engine.start()
        try:
            await until(lambda: "watch Job" in harness.cluster.calls)
            for number in range(5):
                await harness.engine.submit(requested(str(number), created_at=now() + timedelta(seconds=number)))
            harness.release("0-01jd")
            harness.cluster.remove("Job", "1-01jd")
            await until(lambda: counts(harness) == (1, 3))
            place = await harness.engine.place("4-01jd")
            assert place is not None and place.position == 3
            record(harness, "0-01jd")
            await until(lambda: counts(harness) == (0, 3))
            assert [run.run_id for run in (await harness.engine.find(RunQuery()))[0]] == ["4-01jd", "3-01jd", "2-01jd"]
            assert harness.cluster.calls.count("list Job") == 1
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)


def test_a_watch_that_has_ended_is_replaced_and_misses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_view, "_WATCH_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(queue_view, "_WATCH_RETRY_SECONDS", 0.02)

    async def scenario(harness: Harness) -> None:
        await harness.engine.start()
        try:
            for outage in (False, True):
                watches = harness.cluster.calls.count("watch Job")
                if outage:
                    harness.start_outage(times=2)
                harness.cluster.end_watches()
                run = await submitted(harness, requested(f"during-{outage}"))
                await until(lambda: harness.cluster.calls.count("watch Job") > watches)  # noqa: B023 - called here
                harness.release(run.run_id)
                await until(lambda: run.run_id in harness.engine._queue.runs.released)  # noqa: B023 - called here
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)


def test_changes_before_the_latest_list_are_not_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    put = queue_view.LiveRuns.put

    def recorded_put(self: queue_view.LiveRuns, run: Run, job: Manifest) -> None:
        shown.append(run.run_id)
        put(self, run, job)

    monkeypatch.setattr(queue_view.LiveRuns, "put", recorded_put)

    async def scenario(harness: Harness) -> None:
        watch = harness.cluster.watch

        @asynccontextmanager
        async def watch_slowly(kind: str, *, labels: str = "", since: int) -> AsyncIterator[AsyncIterator[WatchEvent]]:
            for name in ("a", "b"):
                harness.cluster.put("Job", make_job(harness, name))
                harness.cluster.remove("Job", f"{name}-01jd")
            await harness.engine.queue()  # lists the Jobs, because there is no watch yet
            harness.cluster.put("Job", make_job(harness, "c"))
            async with watch(kind, labels=labels, since=since) as events:
                yield events

        monkeypatch.setattr(harness.cluster, "watch", watch_slowly)
        await harness.engine.start()
        try:
            await until(lambda: counts(harness) == (0, 1))
            assert shown == ["c-01jd"]
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)


def test_a_list_that_ends_after_the_watch_has_started_loses_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        watch, pages = harness.cluster.watch, harness.cluster.pages
        shown = asyncio.Event()
        lists = 0

        async def paged_slowly(kind: str, *, labels: str = "") -> AsyncIterator[Listing]:
            nonlocal lists
            lists += 1
            found = [page async for page in pages(kind, labels=labels)]
            if lists == 2:
                await shown.wait()
            for page in found:
                yield page

        @asynccontextmanager
        async def watch_during_a_list(
            kind: str, *, labels: str = "", since: int
        ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
            refreshes.append(asyncio.create_task(harness.engine.queue()))
            await until(lambda: lists == 2)
            harness.cluster.put("Job", make_job(harness, "c"))
            async with watch(kind, labels=labels, since=since) as events:
                yield events

        refreshes: list[asyncio.Task[object]] = []
        monkeypatch.setattr(harness.cluster, "pages", paged_slowly)
        monkeypatch.setattr(harness.cluster, "watch", watch_during_a_list)
        await harness.engine.start()
        try:
            await until(lambda: counts(harness) == (0, 1))
            shown.set()
            await asyncio.gather(*refreshes)
            assert counts(harness) == (0, 1)
        finally:
            await harness.engine.stop()

    run_scenario(tmp_path, scenario)


def make_job(harness: Harness, name: str) -> Manifest:
    return manifests.make_job(requested(name), harness.settings.pipelines["default"], harness.settings)


def test_the_queues_limit_also_counts_runs_that_are_being_created(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        create = harness.cluster.create

        async def slowly(kind: str, manifest: Manifest) -> Manifest:
            await asyncio.sleep(0.01)
            return await create(kind, manifest)

        harness.cluster.create = slowly  # type: ignore[method-assign]
        requests = [harness.engine.submit(requested(str(number))) for number in range(10)]
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert sum(isinstance(result, Run) for result in results) == 3
        assert sum(isinstance(result, QueueFull) for result in results) == 7

    run_scenario(tmp_path, scenario, MAX_QUEUED="3")


def test_concurrent_requests_with_one_key_for_two_jobs_conflict(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        runs = [keyed("1"), replace(keyed("2", request="another"))]
        results = await asyncio.gather(*(harness.engine.submit(run) for run in runs), return_exceptions=True)
        assert [type(result) for result in results] == [Run, IdempotencyConflict]

    run_scenario(tmp_path, scenario)


def test_live_runs_that_the_history_has_are_looked_up_once(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        asked: list[Sequence[str]] = []
        revisions = harness.history.revisions

        async def counted(run_ids: Sequence[str]) -> Mapping[str, int]:
            asked.append(run_ids)
            return await revisions(run_ids)

        harness.history.revisions = counted  # type: ignore[method-assign]
        for name in ("1", "2"):
            await harness.history.put(await harness.engine.submit(requested(name)))
        await harness.engine.submit(requested("3"))
        for _ in range(3):
            assert (await harness.engine.find(RunQuery()))[1] == 3
        assert [sorted(run_ids) for run_ids in asked] == [["1-01jd", "2-01jd", "3-01jd"], ["3-01jd"], ["3-01jd"]]

    run_scenario(tmp_path, scenario)


def test_counts_include_runs_without_a_record(tmp_path: Path) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.history.put(finished(requested("old")))
        await harness.engine.submit(requested("new"))
        edges = [now().replace(microsecond=0) - timedelta(hours=1), now() + timedelta(hours=1)]
        assert await harness.engine.count_between(edges) == [{RunStatus.COMPLETED: 1, RunStatus.QUEUED: 1}]

    run_scenario(tmp_path, scenario)
