"""The local engine: runs are child processes of the launcher; the archive's run records are its memory.

After a restart, queued runs go on waiting and running ones have become `failed` (`LauncherLost`): their processes
are ended, their log is kept with a marker. With Redis, queued runs come back even where the archive was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Counter, Gauge

from launcher.domain.admission import QueuePlace, place_of, to_release, typical_seconds
from launcher.domain.errors import IdempotencyConflict, QueueFull, RunNotFound, StoreUnavailable
from launcher.domain.loglines import Receipt
from launcher.domain.names import is_run_id
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, cancelled_before_start, failure, now
from launcher.engines.execution import Execution
from launcher.engines.marks import end_leftovers, marks_of
from launcher.engines.port import QueueState
from launcher.logs.pump import LogPump
from launcher.retention import forget_before
from launcher.settings import Settings
from launcher.storage import Storage
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.ports import RunQuery

_CLEANING_SECONDS = 3600.0
_DISK_RETRY_SECONDS = 1.0
_REMEMBERED_DURATIONS = 20
_ALL = 1_000_000
log = logging.getLogger(__name__)
RUNS = Counter("slipway_runs_total", "Runs that have ended", ["pipeline", "status", "reason"])
ACTIVE = Gauge("slipway_active_runs", "Runs that are running")
QUEUED = Gauge("slipway_queued_runs", "Runs that wait")


class LocalEngine:
    """An `Engine` on this machine alone."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        environ: Mapping[str, str],
    ) -> None:
        self._settings, self._storage = settings, storage
        self._archive, self._recorder = storage.archive, storage.recorder
        self._publisher, self._artifacts = storage.publisher, storage.artifacts
        self._execution = Execution(settings, storage.artifacts, environ)
        self._shared = storage.shared
        self._runs = InMemoryRunStore()
        self._waiting: dict[str, Run] = {}
        self._active: dict[str, Run] = {}
        self._by_key: dict[str, str] = {}
        self._durations: dict[str, list[float]] = {}
        self._ends: dict[str, asyncio.Future[Reason]] = {}
        """Of each active run: why it is to end before its time."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause_file = settings.ARCHIVE_DIR / "paused"
        self._stopping = False

    async def start(self) -> None:
        """Take up what the launcher before this one left."""
        known = {run.run_id: run for run in self._archive.runs()}
        for run in await self._left_in_shared():
            if run.run_id not in known:
                known[run.run_id] = run
                self._recorder.record(run)
        for run in sorted(known.values(), key=lambda run: run.created_at):
            await self._remember(run)
            if run.status is RunStatus.RUNNING:
                await self._lost(run)
            elif run.status is RunStatus.QUEUED:
                self._waiting[run.run_id] = run
        self._spawn(self._clean(), "clean")
        self._admit()

    async def stop(self) -> None:
        """End what runs; each run gets its outcome. Queued runs stay queued."""
        self._stopping = True
        for task in list(self._tasks):
            if task.get_name() == "clean":
                task.cancel()
        for end in self._ends.values():
            _ask(end, Reason.LAUNCHER_LOST)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def submit(self, run: Run) -> Run:
        """See `Engine`."""
        there = self._by_key.get(run.idempotency_hash or "") or run.run_id
        if (found := await self._runs.get(there)) is not None:
            if found.request_hash != run.request_hash:
                raise IdempotencyConflict
            return found
        if len(self._waiting) >= self._settings.MAX_QUEUED:
            raise QueueFull
        await self._keep(run)
        self._waiting[run.run_id] = run
        self._admit()
        return await self.get(run.run_id)

    async def get(self, run_id: str) -> Run:
        """See `Engine`."""
        run = await self._runs.get(run_id) if is_run_id(run_id) else None
        if run is None:
            raise RunNotFound
        return run

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """See `Engine`."""
        return await self._runs.find(query)

    async def cancel(self, run_id: str) -> Run:
        """See `Engine`."""
        run = await self.get(run_id)
        if run.status is RunStatus.QUEUED:
            self._waiting.pop(run_id, None)
            await self._end(run, cancelled_before_start(), Receipt(complete=True))
            self._admit()
        elif run.status is RunStatus.RUNNING and not run.cancel_requested:
            self._active[run_id] = await self._keep(run.cancelling(now()))
            _ask(self._ends[run_id], Reason.CANCELLED)
        return await self.get(run_id)

    async def place(self, run_id: str) -> QueuePlace | None:
        """See `Engine`."""
        run = self._waiting.get(run_id)
        if run is None:
            return None
        typical = typical_seconds(self._durations.get(run.pipeline, []))
        at = now()
        remaining = [
            max(0.0, (typical or 0.0) - (at - (r.started_at or at)).total_seconds()) for r in self._active.values()
        ]
        return place_of(
            run_id,
            self._waiting.values(),
            remaining=remaining,
            typical=typical,
            limit=self._settings.MAX_CONCURRENCY,
            paused=self._paused,
        )

    async def pause(self, paused: bool) -> None:
        """See `Engine`. Kept as a file beside the archives."""
        if paused:
            self._pause_file.touch()
        else:
            self._pause_file.unlink(missing_ok=True)
            self._admit()

    async def queue(self) -> QueueState:
        """See `Engine`."""
        return QueueState(
            active=len(self._active),
            limit=self._settings.MAX_CONCURRENCY,
            queued=len(self._waiting),
            paused=self._paused,
        )

    @property
    def _paused(self) -> bool:
        return self._pause_file.exists()

    def _admit(self) -> None:
        if not self._stopping:
            limit = self._settings.MAX_CONCURRENCY
            for run in to_release(self._waiting.values(), busy=len(self._active), limit=limit, paused=self._paused):
                del self._waiting[run.run_id]
                self._active[run.run_id] = run
                self._ends[run.run_id] = asyncio.get_running_loop().create_future()
                self._spawn(self._execute(run), f"run {run.run_id}")
        ACTIVE.set(len(self._active))
        QUEUED.set(len(self._waiting))

    async def _execute(self, run: Run) -> None:
        try:
            if (await self.get(run.run_id)).status.terminal:  # cancelled between admission and now
                return
            run = self._active[run.run_id] = await self._keep(run.started(now()))
            pump = LogPump(self._archive, self._publisher, run.run_id)
            pump.open(run)
            try:
                outcome = await self._execution.outcome(run, pump.feed, self._ends[run.run_id])
            except Exception as exc:  # a fault of ours must not leave a run for ever running
                log.exception("run %s", run.run_id)
                outcome = failure(Reason.CANNOT_START, detail=f"{type(exc).__name__}: {exc}")
                await end_leftovers(marks_of(run.run_id, self._settings.ARCHIVE_DIR))
            await self._end(await self.get(run.run_id), outcome, pump.close())
        finally:
            self._active.pop(run.run_id, None)
            self._ends.pop(run.run_id, None)
            self._admit()

    async def _end(self, run: Run, outcome: Outcome, log_receipt: Receipt) -> None:
        pipeline, artifacts = self._settings.pipelines.get(run.pipeline), {}
        if pipeline:
            outcome = pipeline.explained(outcome)
            artifacts = self._artifacts.discover(run.run_id, pipeline.artifacts)
        while True:
            try:
                await self._keep(run.ended(outcome, now(), log_receipt, artifacts))
                break
            except OSError as exc:  # a full disk: the outcome waits for room, it is not lost
                log.error("run %s has ended, but its record cannot be written: %s", run.run_id, exc)
                await asyncio.sleep(_DISK_RETRY_SECONDS)
        RUNS.labels(run.pipeline, outcome.status, outcome.reason).inc()

    async def _lost(self, run: Run) -> None:
        await end_leftovers(marks_of(run.run_id, self._settings.ARCHIVE_DIR))
        pump = LogPump(self._archive, self._publisher, run.run_id)
        pump.gap("The launcher stopped here; what the pipeline printed from then on is not kept.")
        await self._end(run, failure(Reason.LAUNCHER_LOST), pump.close())

    async def _keep(self, run: Run) -> Run:
        self._recorder.record(run)
        await self._remember(run)
        return run

    async def _remember(self, run: Run) -> None:
        await self._runs.put(run)
        if run.idempotency_hash:
            self._by_key[run.idempotency_hash] = run.run_id
        if run.status is RunStatus.COMPLETED and run.started_at and run.completed_at:
            durations = self._durations.setdefault(run.pipeline, [])
            durations.append((run.completed_at - run.started_at).total_seconds())
            del durations[:-_REMEMBERED_DURATIONS]

    async def _left_in_shared(self) -> list[Run]:
        if self._shared is None:
            return []
        try:
            runs, _ = await self._shared.find(RunQuery(per_page=_ALL))
        except StoreUnavailable:
            return []
        return [run for run in runs if not run.status.terminal]

    async def _clean(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self._forget_before(now() - timedelta(days=self._settings.RETENTION_DAYS))
            await asyncio.sleep(_CLEANING_SECONDS)

    async def _forget_before(self, moment: datetime) -> None:
        runs, _ = await self._runs.find(RunQuery(per_page=_ALL))
        old = [run for run in runs if run.completed_at and run.completed_at < moment]
        for run in old:
            self._by_key.pop(run.idempotency_hash or "", None)
        await self._runs.delete_ended_before(moment)
        await forget_before(moment, old, self._storage)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ask(end: asyncio.Future[Reason], reason: Reason) -> None:
    if not end.done():  # who asked first is why it ends
        end.set_result(reason)
