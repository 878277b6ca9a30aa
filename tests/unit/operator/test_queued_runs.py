"""Queued runs in the operator, on a fake cluster: they are recorded, cost no task, and leave the queue in order."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from launcher.cluster import labels, manifests
from launcher.cluster.port import Manifest
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run, RunStatus, now
from launcher.wiring import open_recording, open_storage
from launching.fake_cluster import FakeCluster, merged
from pipeline_operator import admission, backoff
from pipeline_operator.admission import Admission
from pipeline_operator.app import Operator
from pipeline_operator.cluster_cache import ClusterCache
from pipeline_operator.reconciler_tasks import ReconcilerTasks
from pipeline_operator.settings import OperatorSettings


class Harness:
    """An operator on a fake cluster whose pods never start, with a paused queue and the real archive."""

    def __init__(self, folder: Path, stack: AsyncExitStack, **environ: str) -> None:
        self.settings = OperatorSettings.from_environment(
            {"ARCHIVE_DIR": f"{folder}/archive", "APPLICATIONS_DIR": f"{folder}/applications", **environ}
        )
        self.storage = open_storage(self.settings, stack)
        self.recording = open_recording(self.settings, self.storage)
        stack.push_async_callback(self.recording.publisher.stop)
        self.cluster = FakeCluster(ClusterCache())
        self.cluster.put("Lease", {"metadata": {"name": labels.LEASE}})
        self.operator = Operator(self.cluster, self.storage, self.recording, self.settings)
        self.cluster.cache = self.operator
        self.pause(True)

    def pause(self, paused: bool) -> None:
        switch = {"metadata": {"name": labels.QUEUE}, **manifests.pause_patch(paused)}
        self.operator.observe_queue_config(self.cluster.put("ConfigMap", switch))

    def queue(self, name: str, priority: int = 0, **changes: Manifest) -> Manifest:
        run = Run(run_id=name, job_id=name, priority=priority, created_at=now(), updated_at=now())
        return self.cluster.put("Job", merged(manifests.make_job(run, Pipeline(), self.settings), changes))

    def change(self, name: str, patch: Manifest) -> None:
        self.cluster.put("Job", merged(self.cluster.objects["Job", name], patch))

    def status(self, name: str) -> RunStatus | None:
        run = self.storage.archive.get(name)
        return run and run.status

    @property
    def released(self) -> list[str]:
        """The released runs, in order."""
        calls = [call for call in self.cluster.calls if call.startswith("patch Job ")]
        return [name for call in calls if not self.job(name := call.removeprefix("patch Job "))["spec"]["suspend"]]

    def job(self, name: str) -> Manifest:
        return self.cluster.objects["Job", name]


@asynccontextmanager
async def started_harness(folder: Path, **environ: str) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        harness = Harness(folder, stack, **environ)
        harness.operator.start()
        stack.push_async_callback(harness.operator.stop)
        yield harness


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def run_tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("run ")}


def test_queued_runs_are_recorded_and_have_no_task_until_they_are_released(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path, MAX_CONCURRENCY="2") as harness:
            names = [f"r{number}" for number in range(30)]
            for name in names:
                harness.queue(name)
            await until(lambda: all(harness.status(name) is RunStatus.QUEUED for name in names))
            assert run_tasks() == set()
            harness.pause(False)
            await until(lambda: len(harness.released) == 2)
            assert run_tasks() == {"run r0", "run r1"}

    asyncio.run(scenario())


def test_the_most_urgent_run_is_released_first_however_many_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path, MAX_CONCURRENCY="1") as harness:
            for number in range(200):
                harness.queue(f"r{number}")
            harness.queue("urgent", priority=100)
            harness.pause(False)
            await until(lambda: harness.released)
            assert harness.released == ["urgent"]

    asyncio.run(scenario())


def test_a_burst_of_changes_costs_one_round_of_admission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_TICK_SECONDS", 60.0)
    monkeypatch.setattr(admission, "_PAUSE_SECONDS", 0.5)
    rounds = 0
    admit = Admission.admit

    async def counted(self: Admission) -> None:
        nonlocal rounds
        rounds += 1
        await admit(self)

    monkeypatch.setattr(Admission, "admit", counted)

    async def scenario() -> None:
        nonlocal rounds
        async with started_harness(tmp_path) as harness:
            await until(lambda: rounds)
            await asyncio.sleep(0.7)  # the changes of its start are one round at most
            rounds = 0
            for number in range(50):
                harness.queue(f"r{number}")
                if number % 10 == 0:
                    await asyncio.sleep(0)  # as between events that arrive together
            await until(lambda: rounds == 2)  # one for the first change, and one for all others
            await asyncio.sleep(0.7)
            assert rounds == 2

    asyncio.run(scenario())


def test_a_full_quota_costs_no_request_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_TICK_SECONDS", 60.0)

    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            status = {"hard": {"pods": "3"}, "used": {"pods": "3"}}
            harness.cluster.put("ResourceQuota", {"metadata": {"name": labels.QUOTA}, "status": status})
            harness.queue("a")
            harness.pause(False)
            await until(lambda: f"get ResourceQuota {labels.QUOTA}" in harness.cluster.calls)
            await asyncio.sleep(0.2)
            asked = harness.cluster.calls.count(f"get ResourceQuota {labels.QUOTA}")
            await asyncio.sleep(0.5)
            assert harness.cluster.calls.count(f"get ResourceQuota {labels.QUOTA}") == asked

    asyncio.run(scenario())


def test_a_queued_run_is_cancelled_without_being_released(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            for name in ("a", "b"):
                harness.queue(name)
            harness.change("a", manifests.cancel_patch(now()))
            await until(lambda: harness.status("a") is RunStatus.CANCELLED)
            await until(lambda: ("Job", "a") not in harness.cluster.objects)
            harness.pause(False)
            await until(lambda: harness.released == ["b"])

    asyncio.run(scenario())


def test_a_job_whose_deletion_is_not_observed_is_deleted_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            harness.queue("a")
            await until(lambda: harness.status("a"))
            harness.change("a", manifests.cancel_patch(now()))
            harness.cluster.watched = set()
            await until(lambda: ("Job", "a") not in harness.cluster.objects)
            await until(lambda: not run_tasks())
            assert harness.cluster.calls.count("delete Job a") == 1

    asyncio.run(scenario())


def test_a_deleted_job_that_is_listed_late_is_deleted_at_most_once_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            job = harness.queue("a")
            await until(lambda: harness.status("a"))
            harness.change("a", manifests.cancel_patch(now()))
            await until(lambda: ("Job", "a") not in harness.cluster.objects)
            await until(lambda: not run_tasks())
            harness.operator.observe_job(job)  # from a list that was requested before
            await until(lambda: not run_tasks())
            assert harness.cluster.calls.count("delete Job a") == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("event", [True, False])
def test_a_queued_run_whose_job_is_deleted_fails(tmp_path: Path, event: bool) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            harness.queue("a")
            await until(lambda: harness.status("a"))
            if event:
                harness.cluster.remove("Job", "a")
                await until(lambda: harness.status("a") is RunStatus.FAILED)
            else:  # its deletion is missed, and another Job of the same name is observed
                harness.queue("a")
                await until(lambda: harness.status("a") is RunStatus.FAILED)
                await until(lambda: harness.job("a")["metadata"]["labels"][labels.PHASE] == labels.PHASE_RECORDED)
                assert harness.job("a")["spec"]["suspend"]
            run = harness.storage.archive.get("a")
            assert run is not None and run.reason == "Deleted"

    asyncio.run(scenario())


def test_a_run_can_be_released_once_its_job_has_no_termination_reason_any_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            harness.pause(False)
            reason = {"metadata": {"annotations": {labels.TERMINATION_REASON: "TimedOut"}}}
            harness.queue("a", **reason)
            await until(lambda: harness.status("a"))
            assert run_tasks() == {"run a"} and not harness.released
            harness.change("a", {"metadata": {"annotations": {labels.TERMINATION_REASON: None}}})
            await until(lambda: harness.released == ["a"])

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), ValueError("unexpected")])
def test_a_queued_run_that_cannot_be_recorded_at_first_is_recorded_and_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(backoff, "RETRY_SECONDS", 0.01)

    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            put = harness.storage.archive.put
            faults = [fault]

            def refuse_once(run: Run) -> bool:
                if faults:
                    raise faults.pop()
                return put(run)

            monkeypatch.setattr(harness.storage.archive, "put", refuse_once)
            for name in ("a", "b"):
                harness.queue(name)
            await until(lambda: harness.status("a") and harness.status("b"))
            harness.pause(False)
            await until(lambda: sorted(harness.released) == ["a", "b"])

    asyncio.run(scenario())


def test_a_run_whose_outcome_waits_for_the_disk_is_not_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "RETRY_SECONDS", 0.001)

    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            put, full = harness.storage.archive.put, asyncio.Event()

            def fail_for_a(run: Run) -> bool:
                if run.run_id != "a":
                    return put(run)
                if not run.status.terminal:
                    raise ValueError("unexpected")
                full.set()
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(harness.storage.archive, "put", fail_for_a)
            harness.queue("a")
            await full.wait()
            harness.queue("b")
            harness.pause(False)
            await until(lambda: "b" in harness.released)
            assert harness.released == ["b"]

    asyncio.run(scenario())


def test_queued_runs_are_recorded_after_an_unexpected_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, faults = ReconcilerTasks._record, [ValueError("unexpected")]

    async def fail_once(self: ReconcilerTasks, run_id: str) -> None:
        if faults:
            raise faults.pop()
        await record(self, run_id)

    monkeypatch.setattr(ReconcilerTasks, "_record", fail_once)

    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:
            for name in ("a", "b"):
                harness.queue(name)
            await until(lambda: harness.status("b"))

    asyncio.run(scenario())


def test_the_next_operator_queues_the_runs_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path, MAX_CONCURRENCY="1") as harness:
            for number in range(5):
                harness.queue(f"r{number}")
            await until(lambda: all(harness.status(f"r{number}") for number in range(5)))
            await harness.operator.stop()
            harness.cluster.watched = set()  # so that only reconciliation finds them
            harness.operator = Operator(harness.cluster, harness.storage, harness.recording, harness.settings)
            harness.cluster.put("ConfigMap", {"metadata": {"name": labels.QUEUE}, **manifests.pause_patch(False)})
            harness.operator.start()
            await until(lambda: harness.released == ["r0"])
            await harness.operator.stop()

    asyncio.run(scenario())


def test_the_next_operator_records_queued_runs_that_the_previous_one_could_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with started_harness(tmp_path) as harness:

            def full_disk(run: Run) -> bool:
                refused.append(run.run_id)
                raise OSError(errno.ENOSPC, "No space left on device")

            refused: list[str] = []
            with monkeypatch.context() as patch:
                patch.setattr(harness.storage.archive, "put", full_disk)
                for number in range(5):
                    harness.queue(f"r{number}")
                await until(lambda: refused)
                await harness.operator.stop()
            assert not any(harness.status(f"r{number}") for number in range(5))
            harness.operator = Operator(harness.cluster, harness.storage, harness.recording, harness.settings)
            harness.cluster.cache = harness.operator
            harness.operator.start()
            await until(lambda: all(harness.status(f"r{number}") for number in range(5)))
            await harness.operator.stop()

    asyncio.run(scenario())
