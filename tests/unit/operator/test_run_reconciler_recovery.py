"""The reconciler of one run, when events, writes or the operator fail."""

from __future__ import annotations

import asyncio
import errno
from datetime import UTC, datetime, timedelta

import pytest

from launcher.cluster import jobs, labels
from launcher.domain.errors import ClusterUnavailable
from launcher.domain.log_lines import LineKind, Receipt
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.mirror import Mirror
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.watch import StoreWatch
from launching.harness import (
    DEADLINE_EXCEEDED,
    FIRST_LINE,
    NAME,
    POD,
    Harness,
    RunScenario,
    container,
    ended,
    running,
    waiting,
)
from pipeline_operator import backoff, decisions, run_reconciler


@pytest.mark.parametrize("starts", [True, False])
def test_a_record_that_the_disk_refused_is_retried_and_no_line_is_duplicated(
    run_scenario: RunScenario, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        put = harness.storage.archive.put
        refused: list[Run] = []

        def full_disk(run: Run) -> bool:
            if run.status.terminal and not refused:
                refused.append(run)
                raise OSError(errno.ENOSPC, "No space left on device")
            return put(run)

        monkeypatch.setattr(harness.storage.archive, "put", full_disk)
        await harness.start_released()
        if starts:
            harness.put_pod("Running", **running())
            harness.cluster.say(POD, "one")
            await harness.until(lambda: len(harness.lines) == 2)
            harness.put_pod("Failed", **ended(3))
        else:
            harness.put_pod(**waiting("InvalidImageName"))
            await harness.until(lambda: harness.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
            harness.put_pod("Failed", **DEADLINE_EXCEEDED, **waiting("InvalidImageName"))
        await harness.until(lambda: refused)
        lines = harness.lines
        run = await harness.end()
        assert run == refused[0]
        assert run.reason == ("PostingNotFound" if starts else "InvalidImage")
        assert (
            harness.lines
            == lines
            == [FIRST_LINE, (LineKind.LINE, b"one") if starts else (LineKind.SYSTEM, log_message(run))]
        )
        assert run.log.complete

    run_scenario(scenario)


def log_message(run: Run) -> bytes:
    """The message of a run that failed before it started, which is also in its log."""
    assert run.message
    return run.message.encode()


def test_a_record_that_kubernetes_could_not_store_is_retried(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_running()
        await harness.until(lambda: harness.archived.status is RunStatus.RUNNING)
        harness.cluster.faults["patch Job"] = [ClusterUnavailable("Kubernetes is temporarily unavailable")]
        harness.put_pod("Succeeded", **ended(0))
        assert (await harness.end()).status is RunStatus.COMPLETED

    run_scenario(scenario)


@pytest.mark.parametrize("suspend", [True, False])
def test_a_new_job_with_the_name_of_a_finished_run_gets_its_record_and_never_runs(
    run_scenario: RunScenario, suspend: bool
) -> None:
    async def scenario(harness: Harness) -> None:
        outcome = Outcome(status=RunStatus.COMPLETED, reason=Reason.COMPLETED, message="…", exit_code=0)
        before = harness.run.started(now()).finished(outcome, now(), Receipt(complete=True))
        harness.recording.recorder.record(before)
        harness.make_job(suspend=suspend)
        await harness.start()
        assert await harness.end() == before
        assert harness.job["spec"]["suspend"]
        assert harness.job["spec"]["ttlSecondsAfterFinished"] == 86400
        assert not harness.cache.get(NAME).holds_slot
        assert not harness.storage.archive.has_log(NAME)

    run_scenario(scenario)


def test_the_stores_have_the_outcome_before_its_job_even_if_the_previous_operator_died_in_between(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(harness: Harness) -> None:
        outcome = Outcome(status=RunStatus.COMPLETED, reason=Reason.COMPLETED, message="…", exit_code=0)
        finished = harness.run.started(now()).finished(outcome, now(), Receipt(complete=True))
        harness.storage.archive.put(finished)  # and no store
        store = InMemoryRunStore()
        mirror = Mirror(StoreWatch("store", store))
        monkeypatch.setattr(harness.recording.recorder, "_mirrors", [mirror])
        harness.make_job()
        await harness.start()
        await harness.until(lambda: mirror.pending(NAME))
        assert jobs.phase_of(harness.job) == labels.PHASE_QUEUED
        delivery = asyncio.create_task(mirror.run())
        await harness.end()
        assert await store.get(NAME) == finished
        delivery.cancel()

    run_scenario(scenario)


def test_a_job_replaced_while_queued_fails_its_run_and_the_new_job_is_left_alone(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        first = harness.make_job()
        await harness.start()
        harness.cluster.remove("Job", NAME)
        second = harness.make_job()
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
        assert harness.task is not None
        async with asyncio.timeout(4):
            await harness.task
        assert (harness.archived.status, harness.archived.reason) == (RunStatus.FAILED, "Deleted")
        assert harness.job == second
        await harness.start()  # as `ReconcilerTasks` does when the first one is done
        assert (await harness.end()).reason == "Deleted"

    run_scenario(scenario)


def test_the_pods_of_a_finished_job_are_listed_if_their_events_are_late(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        harness.cluster.watched = {"Job"}
        await harness.start_released()
        harness.cluster.say(POD, "one")
        harness.put_pod("Failed", **ended(3))
        await harness.until(lambda: harness.archived.waiting_for)
        assert harness.cache.get(NAME).pod is None
        harness.finish_job("Failed")
        run = await harness.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.FAILED, "PostingNotFound", 3)
        assert harness.lines == [FIRST_LINE, (LineKind.LINE, b"one")]
        assert harness.cluster.calls.count("list Pod") == 1

    run_scenario(scenario)


def test_a_run_completes_even_if_its_start_was_not_observed(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        await harness.start_released()
        harness.finish_job("Complete")  # and its pod was deleted before it was observed
        run = await harness.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.COMPLETED, "Completed", 0)
        assert run.started_at is not None
        assert run.completed_at is not None
        assert run.created_at <= run.started_at <= run.completed_at

    run_scenario(scenario)


def test_a_run_that_finished_without_an_operator_has_its_pods_timestamps(run_scenario: RunScenario) -> None:
    async def scenario(harness: Harness) -> None:
        began, done = datetime(2026, 11, 24, 8, 0, 2, tzinfo=UTC), datetime(2026, 11, 24, 8, 0, 9, tzinfo=UTC)
        created = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
        harness.run = Run(run_id=NAME, job_id="4711", created_at=created, updated_at=created)
        harness.make_job()
        await harness.release()
        state = {"exitCode": 0, "reason": "Completed", "startedAt": f"{began:%FT%TZ}", "finishedAt": f"{done:%FT%TZ}"}
        harness.put_pod("Succeeded", **container(terminated=state))
        await harness.start()
        run = await harness.end()
        assert (run.started_at, run.completed_at) == (began, done)

    run_scenario(scenario)


def test_a_grace_period_does_not_end_during_an_outage_of_kubernetes(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "RETRY_SECONDS", 0.5)
    monkeypatch.setattr(run_reconciler, "_REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(decisions, "_LEADER_ELECTION", timedelta(seconds=1))

    async def scenario(harness: Harness) -> None:
        harness.make_job()
        await harness.start()
        harness.cluster.faults["list Pod"] = [ClusterUnavailable("Kubernetes does not answer")] * 3
        await harness.release()
        await harness.until(
            lambda: not harness.cluster.faults["list Pod"]
        )  # longer than the run's grace period: 3 retries
        harness.put_pod("Running", **running())
        harness.put_pod("Succeeded", **ended(0))
        assert (await harness.end()).status is RunStatus.COMPLETED

    run_scenario(scenario, CANNOT_START_GRACE_SECONDS="1")


@pytest.mark.parametrize("with_pod", [True, False])
def test_a_run_that_cannot_be_handled_is_stopped_and_fails(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch, with_pod: bool
) -> None:
    def broken(*_: object) -> object:
        raise ValueError("unexpected")

    async def scenario(harness: Harness) -> None:
        await harness.start_released()
        if with_pod:
            harness.put_pod("Running", **running())
            harness.cluster.say(POD, "one")
            await harness.until(lambda: len(harness.lines) == 2)
        monkeypatch.setattr(run_reconciler, "next_step", broken)
        harness.cluster.put("Job", {**harness.job, "status": {"ready": 0}})
        if with_pod:
            await harness.until(lambda: harness.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
            harness.put_pod("Failed", **DEADLINE_EXCEEDED, **ended(143))
        run = await harness.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "InternalError")
        assert "unexpected" in (run.message or "")
        assert with_pod or harness.job["spec"]["suspend"]

    run_scenario(scenario)
