"""The local engine: runs are child processes of the launcher, and the archive stores the queue.

After a restart, queued runs are still queued. Runs that were running fail (`LauncherLost`): their processes are
stopped, and their logs get a marker. With Redis, queued runs survive even the loss of the archive.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from launcher.background import Tasks, repeat, report_exception, suppress_and_report
from launcher.domain.days import StatusCounts
from launcher.domain.errors import QueueFull, RunNotFound, StoreUnavailable
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import cancelled_before_start, failure
from launcher.domain.queue_places import QueuePlace, place_of
from launcher.domain.reasons import Reason
from launcher.domain.run_queue import RunQueue
from launcher.domain.runs import Run, RunStatus, now
from launcher.engines.active_run import ActiveRun
from launcher.engines.execution import Execution
from launcher.engines.local_log import close_log, open_log
from launcher.engines.pause_switch import PauseSwitch
from launcher.engines.port import QueueState
from launcher.engines.recovery import close_lost_run, recover_runs, stop_processes
from launcher.engines.run_registry import RunRegistry
from launcher.logs.pump import LogPump
from launcher.metrics import ACTIVE_RUNS, QUEUED_RUNS
from launcher.retention import delete_from_stores, delete_runs
from launcher.settings import Settings
from launcher.stores.ports import RunQuery
from launcher.wiring import Recording, Storage

_RETENTION_SECONDS = 3600.0
_RETENTION_RETRY_SECONDS = 60.0
_CANCEL_SECONDS = 2.0
"""How long a cancellation waits for the run's outcome to be recorded."""


class LocalEngine:
    """An `Engine` on one machine, without Kubernetes."""

    def __init__(self, settings: Settings, storage: Storage, recording: Recording, environ: Mapping[str, str]) -> None:
        self._settings, self._storage = settings, storage
        self._recorder, self._publisher = recording.recorder, recording.publisher
        self._execution = Execution(settings, storage.artifacts, environ)
        self._runs = RunRegistry(recording.recorder, storage.artifacts, settings.pipelines)
        self._switch = PauseSwitch(settings.ARCHIVE_DIR / "paused")
        self._waiting = RunQueue()
        self._active: dict[str, ActiveRun] = {}
        self._run_tasks, self._tasks = Tasks(), Tasks()
        self._stopping = False

    async def start(self) -> None:
        """See `Engine`."""
        self._switch.load()
        for run in await recover_runs(self._storage, self._recorder):
            with suppress_and_report("recovery", f"run {run.run_id}: cannot continue it"):
                await self._continue(run)
        retention = repeat(
            "retention",
            self._delete_old_runs,
            every_seconds=_RETENTION_SECONDS,
            expected=(StoreUnavailable,),
            retry_seconds=_RETENTION_RETRY_SECONDS,
        )
        self._tasks.start(retention, "retention")
        self._admit()

    async def stop(self) -> None:
        """See `Engine`. Stops the runs that have a slot; each fails with `LauncherLost`."""
        self._stopping = True
        await self._tasks.stop()
        for active in self._active.values():
            active.stop_for(Reason.LAUNCHER_LOST)
        await self._run_tasks.join()

    async def submit(self, run: Run) -> Run:
        """See `Engine`."""
        if existing := self._runs.existing(run):
            return existing
        if len(self._waiting) >= self._settings.MAX_QUEUED:
            raise QueueFull
        self._waiting.add(self._runs.record(run))
        self._admit()
        return run

    async def get(self, run_id: str) -> Run:
        """See `Engine`."""
        run = self._runs.get(run_id)
        if run is None:
            raise RunNotFound
        return run

    async def find(self, query: RunQuery) -> tuple[list[Run], int]:
        """See `Engine`."""
        return self._runs.find(query)

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """See `Engine`."""
        return self._runs.count_between(edges)

    async def cancel(self, run_id: str) -> Run:
        """See `Engine`."""
        run = await self.get(run_id)
        if self._waiting.discard(run_id) is not None:
            recording = self._run_tasks.start(self._cancel_before_start(run_id), f"cancel {run_id}")
            await asyncio.wait([recording], timeout=_CANCEL_SECONDS)  # on a full disk it waits for space
            self._admit()
        elif (active := self._active.get(run_id)) and not active.stop.done():
            active.stop_for(Reason.CANCELLED)
            with contextlib.suppress(OSError):  # a run that fills the disk can be cancelled too
                self._runs.record(run.cancelling(now()))
        return await self.get(run_id)

    async def place(self, run_id: str) -> QueuePlace | None:
        """See `Engine`."""
        return place_of(
            run_id,
            self._waiting,
            active=[run for active in self._active if (run := self._runs.get(active))],
            durations=self._runs.durations,
            at=now(),
            limit=self._settings.MAX_CONCURRENCY,
            paused=self._switch.paused,
        )

    def partial_line(self, run_id: str) -> str | None:
        """See `Engine`."""
        active = self._active.get(run_id)
        return active.partial_line if active else None

    async def pause(self, paused: bool) -> None:
        """See `Engine`."""
        self._switch.set(paused)
        self._admit()

    async def queue(self) -> QueueState:
        """See `Engine`."""
        return self.cached_queue()

    def cached_queue(self) -> QueueState:
        """See `Engine`."""
        return QueueState(
            active=len(self._active),
            limit=self._settings.MAX_CONCURRENCY,
            queued=len(self._waiting),
            paused=self._switch.paused,
        )

    def _admit(self) -> None:
        if not self._stopping and not self._switch.paused:
            free_slots = max(0, self._settings.MAX_CONCURRENCY - len(self._active))
            for run in list(islice(self._waiting, free_slots)):
                self._waiting.discard(run.run_id)
                self._active[run.run_id] = ActiveRun()
                self._run_tasks.start(self._execute(run.run_id), f"run {run.run_id}")
        ACTIVE_RUNS.set(len(self._active))
        QUEUED_RUNS.set(len(self._waiting))

    async def _execute(self, run_id: str) -> None:
        """Execute a run and record its outcome. Even after an exception, it gets an outcome and frees its slot."""
        active = self._active[run_id]
        try:
            if active.stop.done():  # it was stopped before this task started
                if active.stop.result() is Reason.CANCELLED:  # otherwise it stays queued for the next launcher
                    await self._cancel_before_start(run_id)
                return
            try:
                run = self._runs.record((await self.get(run_id)).started(now()))
                active.pump = LogPump(await open_log(run, self._storage.archive, self._publisher))
                outcome = await self._execution.execute(run, active.pump.feed, active.stop)
            except OSError as exc:
                detail = f"The archive cannot be written: {exc.strerror or exc}. Free some space, or check ARCHIVE_DIR."
                outcome = failure(Reason.CANNOT_START, detail=detail)
            except Exception as exc:
                report_exception("execution", f"run {run_id}: cannot execute it")
                outcome = failure(Reason.INTERNAL_ERROR, detail=f"{type(exc).__name__}: {exc}")
                await stop_processes(run_id, self._settings.ARCHIVE_DIR)
            active.stop.cancel()  # it can no longer be stopped
            note = outcome.message if outcome.reason is Reason.CANNOT_START else None
            receipt = await close_log(run_id, active.pump, self._publisher, note)
            await self._runs.record_outcome(run_id, outcome, receipt)
        finally:
            del self._active[run_id]
            self._admit()

    async def _cancel_before_start(self, run_id: str) -> None:
        await self._runs.record_outcome(run_id, cancelled_before_start(), Receipt(complete=True))

    async def _continue(self, run: Run) -> None:
        """Queue a run of the previous launcher again, or fail it if it was running."""
        self._runs.add(run)
        if run.status is RunStatus.QUEUED:
            self._waiting.add(run)
        elif run.status is RunStatus.RUNNING:
            receipt = await close_lost_run(run, self._storage.archive, self._publisher, self._settings.ARCHIVE_DIR)
            await self._runs.record_outcome(run.run_id, failure(Reason.LAUNCHER_LOST), receipt)

    async def _delete_old_runs(self) -> None:
        moment = now() - timedelta(days=self._settings.RETENTION_DAYS)
        self._runs.remove(await delete_runs(self._runs.finished_before(moment), self._storage))
        await delete_from_stores(moment, self._storage)
