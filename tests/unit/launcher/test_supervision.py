"""The supervision of one run, from the queue to its record: with the real archive, on a cluster that is played."""

from __future__ import annotations

import asyncio
import copy
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from launcher.cluster import jobs, labels, manifests
from launcher.cluster.client import Cluster, Listing
from launcher.controller.picture import Picture
from launcher.controller.settings import OperatorSettings
from launcher.controller.supervision import Supervision
from launcher.domain.errors import ClusterError, ClusterUnavailable, ObjectChanged, ObjectMissing
from launcher.domain.loglines import LineKind, LogLine, Receipt, receipt_of
from launcher.domain.pipelines import Pipeline
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.logs.publisher import Publisher
from launcher.logs.pump import timestamp
from launcher.storage import Storage, open_storage
from launcher.stores.memory import InMemoryLogTail

NAME = "4711-01jd"
POD = f"{NAME}-x7k2p"
Manifest = dict[str, Any]


class FakeCluster:
    """Keeps objects as the API server does, tells a picture of each change, and serves logs as the kubelet does."""

    def __init__(self, picture: Picture) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.told = {"Job", "Pod"}
        """Kinds of whose changes the picture is told."""
        self.calls: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        """What the next calls with this beginning are answered."""
        self._picture, self._version = picture, 0
        self._lines: dict[str, list[bytes]] = {}
        self._changed = asyncio.Event()

    def put(self, kind: str, manifest: Manifest) -> Manifest:
        self._version += 1
        kept = copy.deepcopy(manifest)
        kept["metadata"]["resourceVersion"] = str(self._version)
        kept["metadata"].setdefault("uid", f"{kind}-{self._version}")
        kept["metadata"].setdefault("creationTimestamp", f"{now():%Y-%m-%dT%H:%M:%SZ}")
        self.objects[kind, kept["metadata"]["name"]] = kept
        self._tell(kind, kept, gone=False)
        return copy.deepcopy(kept)

    def take_away(self, kind: str, name: str) -> None:
        self._version += 1
        kept = self.objects.pop((kind, name))
        kept["metadata"]["resourceVersion"] = str(self._version)
        self._tell(kind, kept, gone=True)

    def say(self, pod: str, *lines: str) -> None:
        """Print lines in the pod's container."""
        self._lines.setdefault(pod, []).extend(f"{timestamp()} {line}\n".encode() for line in lines)
        self._wake()

    async def get(self, kind: str, name: str) -> Manifest:
        self._call(f"get {kind}")
        return copy.deepcopy(self._kept(kind, name))

    async def list(self, kind: str, *, labels: str = "", fields: str = "") -> Listing:
        self._call(f"list {kind}")
        wanted = [term.split("=", 1) for term in [*labels.split(","), *fields.split(",")] if term]
        found = [
            copy.deepcopy(kept)
            for (held, _), kept in self.objects.items()
            if held == kind and all(text == field(kept, name) for name, text in wanted)
        ]
        return Listing(found, self._version)

    async def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        self._call(f"patch {kind}")
        kept = self._kept(kind, name)
        if patch.get("metadata", {}).get("uid", kept["metadata"]["uid"]) != kept["metadata"]["uid"]:
            raise ClusterError("Kubernetes refused: metadata.uid: Invalid value: field is immutable")
        return self.put(kind, merged(kept, patch))

    async def delete(self, kind: str, name: str, uid: str) -> None:
        self._call(f"delete {kind}")
        if self._kept(kind, name)["metadata"]["uid"] != uid:
            raise ObjectChanged("Precondition failed: UID in precondition")
        self.take_away(kind, name)

    @asynccontextmanager
    async def log(
        self, pod: str, container: str, *, since: str | None = None, follow: bool = True, last_lines: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self._call(f"log {pod}")
        [status] = self._kept("Pod", pod)["status"].get("containerStatuses") or [{"name": container, "state": {}}]
        assert status["name"] == container
        if not status["state"].keys() & {"running", "terminated"}:
            raise ClusterError(f'Kubernetes refused: container "{container}" in pod "{pod}" is waiting to start')
        yield self._log(pod, since, follow, last_lines)

    async def _log(self, pod: str, since: str | None, follow: bool, last_lines: int | None) -> AsyncIterator[bytes]:
        sent = 0
        while True:
            lines = [line for line in self._lines.get(pod, []) if since is None or line.decode()[:19] >= since[:19]]
            lines = lines if last_lines is None else lines[-last_lines:]
            if chunk := b"".join(lines[sent:]):
                sent = len(lines)
                yield chunk
                continue
            held = self.objects.get(("Pod", pod))
            if not follow or held is None or held["status"]["phase"] != "Running" or ended_in(held):
                return
            await self._changed.wait()

    def _call(self, call: str) -> None:
        self.calls.append(call)
        for beginning, faults in self.faults.items():
            if call.startswith(beginning) and faults:
                raise faults.pop(0)

    def _kept(self, kind: str, name: str) -> Manifest:
        if (kind, name) not in self.objects:
            raise ObjectMissing(f'"{name}" not found')
        return self.objects[kind, name]

    def _tell(self, kind: str, kept: Manifest, *, gone: bool) -> None:
        if kind in self.told:
            see = {"Job": self._picture.see_job, "Pod": self._picture.see_pod}[kind]
            see(copy.deepcopy(kept), gone=gone)
        self._wake()

    def _wake(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()


def field(kept: Manifest, name: str) -> Any:
    """What a selector means: a label, or a field by its path."""
    if name in (kept["metadata"].get("labels") or {}):
        return kept["metadata"]["labels"][name]
    value: Any = kept
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def merged(target: Manifest, patch: Manifest) -> Manifest:
    """RFC 7396."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name) or {}, value) if isinstance(value, dict) else value
    return result


class Scene:
    """A run on the cluster, and the operator that supervises it; the test plays Kubernetes and people."""

    def __init__(self, folder: Path, stack: AsyncExitStack, **environ: str) -> None:
        self.settings = OperatorSettings.from_environment(
            {"ARCHIVE_DIR": f"{folder}/archive", "APPLICATIONS_DIR": f"{folder}/applications", **environ}
        )
        self.storage: Storage = open_storage(self.settings, stack)
        self.picture = Picture()
        self.cluster = FakeCluster(self.picture)
        self.run = Run(run_id=NAME, job_id="4711", created_at=now(), updated_at=now())
        self.following: asyncio.Task[None] | None = None

    def make_job(self, **spec: Any) -> Manifest:
        """The run's Job as the launcher makes it, or as somebody else does."""
        job = manifests.make_job(self.run, Pipeline(), self.settings)
        return self.cluster.put("Job", merged(job, {"spec": spec}))

    async def supervise(self) -> None:
        """Begin to supervise, as the first operator or as the next one; from then on the archive knows the run."""
        found = self.storage.archive.get(NAME) or self.run
        supervision = Supervision(found, cast(Cluster, self.cluster), self.picture, self.storage, self.settings)
        self.following = asyncio.create_task(supervision.follow())
        await self.until(lambda: self.storage.archive.get(NAME))

    async def kill(self) -> None:
        """End the operator, wherever it is."""
        assert self.following is not None
        self.following.cancel()
        await asyncio.gather(self.following, return_exceptions=True)

    async def release(self) -> None:
        await self.cluster.patch("Job", NAME, manifests.release_patch(self.job))

    async def cancel(self) -> None:
        await self.cluster.patch("Job", NAME, manifests.cancel_patch(now()))

    def see_pod(self, phase: str = "Pending", *, node: str | None = "node", **status: Any) -> None:
        """Write the pod as scheduler and kubelet do; the first time, make it."""
        made: Manifest = {
            "metadata": {
                "name": POD,
                "labels": {
                    "slipway.dev/run": "true",
                    "batch.kubernetes.io/job-name": NAME,
                    "batch.kubernetes.io/controller-uid": self.job["metadata"]["uid"],
                },
                "ownerReferences": [
                    {"kind": "Job", "name": NAME, "uid": self.job["metadata"]["uid"], "controller": True}
                ],
            },
            "spec": {"activeDeadlineSeconds": 1200, "containers": [{"name": "pipeline", "image": "image"}]},
        }
        pod = self.cluster.objects.get(("Pod", POD), made)
        spec = {**pod["spec"], "nodeName": node} if node else pod["spec"]
        self.cluster.put("Pod", {**pod, "spec": spec, "status": {"phase": phase, **status}})

    def finish_job(self, condition: str) -> None:
        status = {"conditions": [{"type": condition, "status": "True"}]}
        self.cluster.put("Job", {**self.job, "status": status})

    @property
    def job(self) -> Manifest:
        return self.cluster.objects["Job", NAME]

    @property
    def kept(self) -> Run:
        """The run as the archive has it."""
        run = self.storage.archive.get(NAME)
        assert run is not None
        return run

    @property
    def lines(self) -> list[tuple[LineKind, bytes]]:
        return [(line.kind, line.data) for line in self.storage.archive.read(NAME, 0)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what must come; where the operator fails, say so."""
        assert self.following is not None
        async with asyncio.timeout(4):
            while not condition():
                if self.following.done():
                    self.following.result()
                await asyncio.sleep(0.005)

    async def end(self) -> Run:
        """Wait until the operator is done with the run; return it as the archive and its Job, if it has one, say."""
        assert self.following is not None
        async with asyncio.timeout(4):
            await self.following
        run = self.kept
        assert run.status.terminal
        if ("Job", NAME) in self.cluster.objects:
            assert jobs.phase_of(self.job) == "recorded"
            assert jobs.record_of(self.job) == run
        if self.storage.archive.has_log(NAME):
            lines = self.storage.archive.read(NAME, 0)
            assert run.log == receipt_of(lines, complete=True)
        return run


def waiting(reason: str, message: str = "") -> Manifest:
    return container(waiting={"reason": reason, "message": message})


def running() -> Manifest:
    return container(running={"startedAt": f"{now():%Y-%m-%dT%H:%M:%SZ}"})


def ended(code: int) -> Manifest:
    moment = f"{now():%Y-%m-%dT%H:%M:%SZ}"
    reason = "Error" if code else "Completed"
    return container(terminated={"exitCode": code, "reason": reason, "startedAt": moment, "finishedAt": moment})


def ended_in(pod: Manifest) -> bool:
    """Whether the container has ended, which the kubelet knows before the pod's phase says so."""
    return any("terminated" in status["state"] for status in pod["status"].get("containerStatuses") or ())


def container(**state: Manifest) -> Manifest:
    return {"containerStatuses": [{"name": "pipeline", "image": "image", "restartCount": 0, "state": state}]}


LATE: Manifest = {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than …"}
FIRST = (LineKind.SYSTEM, b"Starting pipeline default for job 4711")
Scenario = Callable[[Scene], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Play a scenario on a scene of its own; no wait in it is longer than a few seconds."""

    def played(scenario: Scenario, **environ: str) -> None:
        async def scene() -> None:
            async with AsyncExitStack() as stack:
                scene = Scene(tmp_path, stack, **environ)
                stack.push_async_callback(scene.storage.publisher.stop)
                try:
                    await scenario(scene)
                finally:
                    if scene.following is not None:
                        await scene.kill()

        asyncio.run(scene())

    return played


def test_a_run_goes_from_the_queue_to_its_record(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        assert scene.kept == scene.run
        await scene.release()
        await scene.until(lambda: scene.kept.waiting_for == "Waiting for Kubernetes to make the pod.")
        scene.see_pod(node=None)
        await scene.until(lambda: scene.kept.waiting_for == "Waiting for a node.")
        scene.see_pod(**waiting("ContainerCreating"))
        await scene.until(lambda: "being made" in (scene.kept.waiting_for or ""))
        await scene.until(lambda: f"log {POD}" in scene.cluster.calls)  # long before its status says Running
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one", "two")
        await scene.until(lambda: len(scene.lines) == 3)
        await scene.until(lambda: scene.kept.status is RunStatus.RUNNING)
        assert scene.kept.waiting_for is None
        (scene.storage.artifacts.make(NAME) / "dossier.txt").write_text("all about it")
        scene.cluster.say(POD, "three")
        scene.see_pod("Succeeded", **ended(0))
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.COMPLETED, "Completed", 0)
        assert run.artifacts == {"dossier_url": "dossier.txt"}
        assert scene.lines == [FIRST, *((LineKind.LINE, data) for data in (b"one", b"two", b"three"))]
        assert run.log.complete
        assert run.started_at is not None and run.completed_at is not None
        assert run.created_at <= run.started_at <= run.completed_at
        assert scene.job["spec"]["ttlSecondsAfterFinished"] == 86400
        assert not scene.job["spec"]["suspend"]
        assert not [call for call in scene.cluster.calls if call.startswith("delete")]

    play(scenario)


def test_a_run_that_is_cancelled_in_the_queue_is_recorded_and_its_job_deleted(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.cancel()
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.CANCELLED, "Cancelled", None)
        assert run.cancel_requested
        assert run.started_at is None
        assert run.log == Receipt(complete=True)
        assert not scene.storage.archive.has_log(NAME)
        assert ("Job", NAME) not in scene.cluster.objects

    play(scenario)


def test_a_run_that_is_cancelled_while_it_runs_keeps_its_pod_and_its_last_words(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one")
        await scene.until(lambda: scene.kept.status is RunStatus.RUNNING)
        await scene.cancel()
        await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        scene.cluster.say(POD, "cleaned up")
        scene.see_pod("Failed", **LATE, **ended(143))
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.CANCELLED, "Cancelled", 143)
        assert scene.lines == [FIRST, (LineKind.LINE, b"one"), (LineKind.LINE, b"cleaned up")]
        assert ("Pod", POD) in scene.cluster.objects

    play(scenario)


def test_a_reason_of_the_operators_own_is_stored_before_the_pod_is_ended(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.cluster.calls.clear()
        (scene.storage.artifacts.make(NAME) / "large").write_bytes(bytes(1025))
        scene.see_pod("Running", **running())
        await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        patches = [call for call in scene.cluster.calls if call.startswith("patch")]
        assert patches == ["patch Job", "patch Pod"]
        assert jobs.ended_for(scene.job) is Reason.ARTIFACTS_TOO_LARGE
        assert not scene.job["spec"]["suspend"]
        scene.see_pod("Failed", **LATE, **ended(143))
        assert (await scene.end()).reason == "ArtifactsTooLarge"

    play(scenario, MAX_ARTIFACT_BYTES="1024")


@pytest.mark.parametrize("begins", [True, False])
def test_a_record_that_the_disk_refused_is_written_again_and_nothing_is_said_twice(
    play: Play, begins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(scene: Scene) -> None:
        put = scene.storage.archive.put
        refused: list[Run] = []

        def full_disk(run: Run) -> bool:
            if run.status.terminal and not refused:
                refused.append(run)
                raise OSError(errno.ENOSPC, "No space left on device")
            return put(run)

        monkeypatch.setattr(scene.storage.archive, "put", full_disk)
        scene.make_job()
        await scene.supervise()
        await scene.release()
        if begins:
            scene.see_pod("Running", **running())
            scene.cluster.say(POD, "one")
            await scene.until(lambda: len(scene.lines) == 2)
            scene.see_pod("Failed", **ended(3))
        else:
            scene.see_pod(**waiting("InvalidImageName"))
            await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
            scene.see_pod("Failed", **LATE, **waiting("InvalidImageName"))
        await scene.until(lambda: refused)
        lines = scene.lines
        run = await scene.end()
        assert run == refused[0]
        assert run.reason == ("PostingNotFound" if begins else "InvalidImage")
        assert scene.lines == lines == [FIRST, (LineKind.LINE, b"one") if begins else (LineKind.SYSTEM, said(run))]
        assert run.log.complete

    play(scenario)


def said(run: Run) -> bytes:
    """The message of a run that failed before it began: its log says it too."""
    assert run.message
    return run.message.encode()


def test_a_record_that_kubernetes_could_not_take_is_written_again(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        await scene.until(lambda: scene.kept.status is RunStatus.RUNNING)
        scene.cluster.faults["patch Job"] = [ClusterUnavailable("Kubernetes cannot now: etcd leader changed")]
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).status is RunStatus.COMPLETED

    play(scenario)


@pytest.mark.parametrize("suspend", [True, False])
def test_a_job_made_anew_under_the_name_of_an_ended_run_gets_its_record_and_never_runs(
    play: Play, suspend: bool
) -> None:
    async def scenario(scene: Scene) -> None:
        outcome = Outcome(status=RunStatus.COMPLETED, reason=Reason.COMPLETED, message="…", exit_code=0)
        before = scene.run.started(now()).ended(outcome, now(), Receipt(complete=True))
        scene.storage.recorder.record(before)
        scene.make_job(suspend=suspend)
        await scene.supervise()
        assert await scene.end() == before
        assert scene.job["spec"]["suspend"]
        assert scene.job["spec"]["ttlSecondsAfterFinished"] == 86400
        assert not scene.picture.sight(NAME).busy
        assert not scene.storage.archive.has_log(NAME)

    play(scenario)


def test_a_job_made_anew_while_its_run_waits_ends_that_run_and_is_left_alone_by_it(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        first = scene.make_job()
        await scene.supervise()
        scene.cluster.take_away("Job", NAME)
        second = scene.make_job()
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
        assert scene.following is not None
        async with asyncio.timeout(4):
            await scene.following
        assert (scene.kept.status, scene.kept.reason) == (RunStatus.FAILED, "Deleted")
        assert scene.job == second
        await scene.supervise()  # as the controller does when the first one is done
        assert (await scene.end()).reason == "Deleted"

    play(scenario)


def test_a_log_pump_that_died_is_begun_anew_and_loses_no_line(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(scene: Scene) -> None:
        scene.cluster.faults["log"] = [RuntimeError("what nobody thought of")]
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod(**waiting("ContainerCreating"))
        await scene.until(lambda: not scene.cluster.faults["log"])
        scene.cluster.say(POD, "one")
        scene.see_pod("Running", **running())
        await scene.until(lambda: len(scene.lines) == 2)
        scene.cluster.say(POD, "two")
        scene.see_pod("Succeeded", **ended(0))
        run = await scene.end()
        assert run.log.complete
        assert scene.lines == [FIRST, (LineKind.LINE, b"one"), (LineKind.LINE, b"two")]
        assert "begun anew" in caplog.text

    play(scenario)


def test_a_log_that_breaks_off_is_read_on_from_where_it_was(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one", "two")
        await scene.until(lambda: len(scene.lines) == 3)
        await scene.kill()
        scene.cluster.faults["log"] = [ClusterUnavailable("Kubernetes does not answer")] * 2
        scene.cluster.say(POD, "three")
        await scene.supervise()
        await scene.until(lambda: len(scene.lines) == 4)
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).log.complete
        assert [data for _, data in scene.lines[1:]] == [b"one", b"two", b"three"]

    play(scenario)


def test_a_log_that_has_ended_is_not_read_again_at_each_news_before_the_pods_end(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one")
        await scene.until(lambda: len(scene.lines) == 2)
        asked = scene.cluster.calls.count(f"log {POD}")
        scene.see_pod("Running", **ended(0))
        for _ in range(5):
            await asyncio.sleep(0.02)
            scene.cluster.put("Job", {**scene.job, "status": {"ready": 0}})
        scene.see_pod("Succeeded", **ended(0))
        assert (await scene.end()).log.complete
        assert scene.cluster.calls.count(f"log {POD}") == asked + 1  # for the last line alone, to be sure of it

    play(scenario)


def test_a_job_that_names_no_pipeline_has_exit_codes_of_its_own(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        del scene.job["metadata"]["annotations"][labels.PIPELINE]
        await scene.supervise()
        await scene.release()
        scene.see_pod("Failed", **ended(3))
        run = await scene.end()
        assert (run.reason, run.exit_code) == ("PipelineError", 3)

    play(scenario)


def test_a_finished_job_whose_pods_news_is_late_waits_for_the_listing_of_pods(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.cluster.told = {"Job"}
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.cluster.say(POD, "one")
        scene.see_pod("Failed", **ended(3))
        await scene.until(lambda: scene.kept.waiting_for)
        assert scene.picture.sight(NAME).pod is None
        scene.finish_job("Failed")
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.FAILED, "PostingNotFound", 3)
        assert scene.lines == [FIRST, (LineKind.LINE, b"one")]
        assert scene.cluster.calls.count("list Pod") == 1

    play(scenario)


def test_a_run_that_nobody_saw_start_is_completed_all_the_same(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.finish_job("Complete")  # and its pod was deleted before anybody looked
        run = await scene.end()
        assert (run.status, run.reason, run.exit_code) == (RunStatus.COMPLETED, "Completed", 0)
        assert run.started_at is not None
        assert run.completed_at is not None
        assert run.created_at <= run.started_at <= run.completed_at

    play(scenario)


def test_what_happened_while_no_operator_was_there_has_the_pods_own_times(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        begun, done = datetime(2026, 11, 24, 8, 0, 2, tzinfo=UTC), datetime(2026, 11, 24, 8, 0, 9, tzinfo=UTC)
        created = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
        scene.run = Run(run_id=NAME, job_id="4711", created_at=created, updated_at=created)
        scene.make_job()
        await scene.release()
        state = {"exitCode": 0, "reason": "Completed", "startedAt": f"{begun:%FT%TZ}", "finishedAt": f"{done:%FT%TZ}"}
        scene.see_pod("Succeeded", **container(terminated=state))
        await scene.supervise()
        run = await scene.end()
        assert (run.started_at, run.completed_at) == (begun, done)

    play(scenario)


def test_a_job_without_a_pod_that_is_given_up_is_suspended_and_says_why(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        refusal = 'pods "4711-01jd-" is forbidden: exceeded quota'
        event = {
            "metadata": {"name": f"{NAME}.1"},
            "involvedObject": {"kind": "Job", "name": NAME},
            "reason": "FailedCreate",
            "message": refusal,
            "lastTimestamp": "2026-11-24T08:00:00Z",
        }
        scene.cluster.put("Event", event)
        scene.make_job()
        await scene.supervise()
        await scene.release()
        run = await scene.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "CannotStart")
        assert run.message is not None
        assert run.message.endswith(f"Kubernetes refuses the pod: {refusal}")
        assert scene.job["spec"]["suspend"]
        assert jobs.ended_for(scene.job) is Reason.CANNOT_START
        assert jobs.end_detail(scene.job) == f"Kubernetes refuses the pod: {refusal}"
        assert "delete Job" not in scene.cluster.calls
        assert scene.lines == [FIRST, (LineKind.SYSTEM, run.message.encode())]

    play(scenario, CANNOT_START_GRACE_SECONDS="0")


def test_the_next_operator_knows_why_the_one_before_ended_a_run(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job()
        await scene.supervise()
        await scene.release()
        scene.see_pod(**waiting("ErrImagePull", "not found"))
        await scene.until(lambda: scene.cluster.objects["Pod", POD]["spec"]["activeDeadlineSeconds"] == 1)
        await scene.kill()
        scene.see_pod("Failed", **LATE, **waiting("ImagePullBackOff", "Back-off"))
        await scene.supervise()
        run = await scene.end()
        assert run.reason == "ImagePull"
        assert run.message is not None
        assert run.message.endswith("The image image cannot be pulled: not found")

    play(scenario, IMAGE_GRACE_SECONDS="0")


def test_a_job_that_is_no_run_is_suspended_and_ends_only_when_its_pod_has(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        scene.make_job(suspend=False, backoffLimit=6)
        scene.see_pod("Running", **running())
        await scene.supervise()
        await scene.until(lambda: scene.job["spec"]["suspend"])
        assert not scene.kept.status.terminal
        scene.cluster.take_away("Pod", POD)  # as the Job controller does with a suspended Job's
        run = await scene.end()
        assert (run.status, run.reason) == (RunStatus.FAILED, "Rejected")
        assert run.message is not None
        assert "spec.suspend must be true" in run.message
        assert "spec.backoffLimit must be 0" in run.message

    play(scenario)


class Tail(InMemoryLogTail):
    """A tail that takes nothing before it is free."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.free = asyncio.Event()
        self.numbers: list[int] = []

    async def publish(self, run_id: str, lines: Sequence[LogLine], *, anew: bool = False) -> None:
        await self.free.wait()
        self.numbers += [line.number for line in lines]
        await super().publish(run_id, lines, anew=anew)


def test_a_tail_that_a_killed_operator_left_short_is_whole_before_the_job_says_recorded(play: Play) -> None:
    async def scenario(scene: Scene) -> None:
        tails = []

        async def begin() -> None:
            tails.append(Tail(scene.settings.LOG_BUFFER_LIMIT))
            publisher = Publisher(scene.storage.archive, tails[-1], scene.settings.LOG_BUFFER_LIMIT)
            scene.storage = replace(scene.storage, publisher=publisher)
            await scene.supervise()

        scene.make_job()
        await begin()
        await scene.release()
        scene.see_pod("Running", **running())
        scene.cluster.say(POD, "one", "two")
        scene.see_pod("Succeeded", **ended(0))
        await scene.until(lambda: scene.kept.status.terminal)
        await scene.kill()
        await scene.storage.publisher.stop()
        assert tails[0].numbers == []
        assert jobs.phase_of(scene.job) == "released"
        await begin()
        for _ in range(20):  # it has had its chances
            await asyncio.sleep(0.01)
            assert jobs.phase_of(scene.job) == "released"
        tails[1].free.set()
        await scene.end()
        assert tails[1].numbers == [1, 2, 3]

    play(scenario)
