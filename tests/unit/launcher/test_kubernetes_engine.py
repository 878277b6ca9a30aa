"""The Kubernetes engine on a fake cluster: what it creates, where it finds runs, what it shows during an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from launcher.cluster import jobs, labels
from launcher.cluster.port import Manifest
from launcher.domain.errors import (
    ClusterUnavailable,
    IdempotencyConflict,
    QueueFull,
    RunNotFound,
)
from launcher.domain.queue_places import OPERATOR_DOWN, OPERATOR_DOWN_WITH_SLOT, PAUSED
from launcher.domain.runs import Run, RunStatus, now
from launcher.engines import queue_view
from launcher.engines.kubernetes import KubernetesEngine
from launcher.engines.operator_liveness import OperatorLiveness
from launcher.stores.ports import RunQuery
from launching.kubernetes_engine import (
    Harness,
    finished,
    keyed,
    requested,
    run_scenario,
)


@pytest.fixture(autouse=True)
def no_caching(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is listed on every call, unless a test says otherwise."""
    monkeypatch.setattr(queue_view, "_FRESH_SECONDS", 0.0)


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
