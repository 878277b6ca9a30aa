"""The local engine: runs are child processes of the launcher; the archive's run records are its memory.

After a restart, queued runs go on waiting and running ones have become `failed` (`LauncherLost`): their processes
are ended, their log is kept with a marker. With Redis, queued runs come back even where the archive was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from launcher.background import Tasks, contained, repeat, report
from launcher.domain.admission import QueuePlace, place_of, to_release, typical_seconds
from launcher.domain.days import StatusCounts
from launcher.domain.errors import IdempotencyConflict, QueueFull, RunNotFound, StoreUnavailable
from launcher.domain.log_lines import Gap, Receipt
from launcher.domain.names import is_run_id
from launcher.domain.outcomes import cancelled_before_start, failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus, now
from launcher.engines.execution import Execution
from launcher.engines.marks import end_leftovers, marks_of
from launcher.engines.port import QueueState
from launcher.logs.pump import LogPump
from launcher.metrics import ACTIVE_RUNS, QUEUED_RUNS, RUNS
from launcher.retention import forget_before
from launcher.settings import Settings
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.ports import RunQuery
from launcher.wiring import Storage

_CLEANING_SECONDS = 3600.0
_CANCEL_SECONDS = 2.0
"""So long a cancellation waits for the end to be recorded."""
_REMEMBERED_DURATIONS = 20
_ALL = 1_000_000
log = logging.getLogger(__name__)


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
        self._pumps: dict[str, LogPump] = {}
        self._ends: dict[str, asyncio.Future[Reason]] = {}
        """Of each active run: why it is to end before its time."""
        self._runs_tasks, self._tasks = Tasks(), Tasks()
        self._pause_file = settings.ARCHIVE_DIR / "paused"
        self._paused = False
        self._stopping = False

    async def start(self) -> None:
        """Take up what the launcher before this one left."""
        self._paused = self._pause_file.exists()
        known = {run.run_id: run for run in self._archive.runs()}
        for run in await self._left_in_shared():
            if run.run_id not in known:
                known[run.run_id] = run
                with contained("start", f"run {run.run_id} of Redis cannot be recorded"):
                    self._recorder.record(run)
        for run in sorted(known.values(), key=lambda run: run.created_at):
            with contained("start", f"run {run.run_id} cannot be taken up"):
                await self._take_up(run)
        self._tasks.start(
            repeat(
                "retention",
                self._clean,
                every_seconds=_CLEANING_SECONDS,
                expected=(StoreUnavailable,),
                retry_seconds=60.0,
            ),
            "retention",
        )
        self._admit()

    async def stop(self) -> None:
        """End what runs; each run gets its outcome. Queued runs stay queued."""
        self._stopping = True
        await self._tasks.stop()
        for end in self._ends.values():
            _ask(end, Reason.LAUNCHER_LOST)
        await self._runs_tasks.join()

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

    async def count_between(self, edges: Sequence[datetime]) -> Sequence[StatusCounts]:
        """See `Engine`."""
        return await self._runs.count_between(edges)

    async def cancel(self, run_id: str) -> Run:
        """See `Engine`."""
        run = await self.get(run_id)
        if self._waiting.pop(run_id, None) is not None:
            ending = self._runs_tasks.start(
                self._end(run, cancelled_before_start(), Receipt(complete=True)), f"cancel {run_id}"
            )
            await asyncio.wait([ending], timeout=_CANCEL_SECONDS)  # a full disk makes it wait for room
            self._admit()
        elif end := self._ends.get(run_id):
            _ask(end, Reason.CANCELLED)  # first: what fills the disk must be possible to cancel
            if run.status is RunStatus.RUNNING and not run.cancel_requested:
                with contextlib.suppress(OSError):
                    self._active[run_id] = await self._keep(run.cancelling(now()))
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

    def unfinished(self, run_id: str) -> str | None:
        """See `Engine`."""
        pump = self._pumps.get(run_id)
        return pump.unfinished if pump else None

    async def pause(self, paused: bool) -> None:
        """See `Engine`. ResumePoint as a file beside the archives."""
        if paused:
            self._pause_file.touch()
        else:
            self._pause_file.unlink(missing_ok=True)
        self._paused = paused
        self._admit()

    async def queue(self) -> QueueState:
        """See `Engine`."""
        return self.known()

    def known(self) -> QueueState:
        """See `Engine`."""
        return QueueState(
            active=len(self._active),
            limit=self._settings.MAX_CONCURRENCY,
            queued=len(self._waiting),
            paused=self._paused,
        )

    def _admit(self) -> None:
        if not self._stopping:
            limit = self._settings.MAX_CONCURRENCY
            for run in to_release(self._waiting.values(), busy=len(self._active), limit=limit, paused=self._paused):
                del self._waiting[run.run_id]
                self._active[run.run_id] = run
                self._ends[run.run_id] = asyncio.get_running_loop().create_future()
                self._runs_tasks.start(self._execute(run), f"run {run.run_id}")
        ACTIVE_RUNS.set(len(self._active))
        QUEUED_RUNS.set(len(self._waiting))

    async def _execute(self, run: Run) -> None:
        """Execute a run. Whatever goes wrong in here, it gets its end, and its slot is free again."""
        pump: LogPump | None = None
        try:
            end = self._ends[run.run_id]
            if end.done():  # between its admission and now
                if end.result() is Reason.CANCELLED:  # else it stays queued for the next launcher
                    await self._end(run, cancelled_before_start(), Receipt(complete=True))
                return
            try:
                run = self._active[run.run_id] = await self._keep(run.started(now()))
                pump = self._pumps[run.run_id] = LogPump(self._archive, self._publisher, run.run_id)
                pump.open(run)
                outcome = await self._execution.outcome(run, pump.feed, end)
            except OSError as exc:
                detail = f"The archive cannot be written: {exc.strerror or exc}. Free some space, or check ARCHIVE_DIR."
                outcome = failure(Reason.CANNOT_START, detail=detail)
            except Exception as exc:
                report("execute", f"run {run.run_id} cannot be executed")
                outcome = failure(Reason.INTERNAL_ERROR, detail=f"{type(exc).__name__}: {exc}")
                with contained("execute", f"run {run.run_id}: what is left of it cannot be stopped"):
                    await end_leftovers(marks_of(run.run_id, self._settings.ARCHIVE_DIR))
            self._ends.pop(run.run_id, None)  # from here on nobody can end it otherwise
            await self._end(await self.get(run.run_id), outcome, self._closed(run, pump))
        finally:
            for of_runs in (self._active, self._ends, self._pumps):
                of_runs.pop(run.run_id, None)
            self._admit()

    async def _end(self, run: Run, outcome: Outcome, log_receipt: Receipt) -> None:
        pipeline, artifacts = self._settings.pipelines.get(run.pipeline), {}
        if pipeline:
            outcome = pipeline.explained(outcome)
            with contained("discover", f"run {run.run_id}: its files cannot be listed"):
                artifacts = await self._artifacts.discover(run.run_id, pipeline.artifacts)
        ended = await self._recorder.record_end(run.ended(outcome, now(), log_receipt, artifacts))
        await self._remember(ended)
        RUNS.labels(run.pipeline, outcome.status, outcome.reason).inc()

    async def _take_up(self, run: Run) -> None:
        """Take up a run that the launcher before this one left."""
        await self._remember(run)
        if run.status is RunStatus.QUEUED:
            self._waiting[run.run_id] = run
        elif run.status is RunStatus.RUNNING:
            await self._lost(run)

    async def _lost(self, run: Run) -> None:
        pump: LogPump | None = None
        with contained("start", f"run {run.run_id}: what is left of it cannot be stopped"):
            await end_leftovers(marks_of(run.run_id, self._settings.ARCHIVE_DIR))
        with contained("start", f"run {run.run_id}: its log cannot be closed"):
            pump = LogPump(self._archive, self._publisher, run.run_id)
            pump.gap("The launcher stopped here; what the pipeline printed from then on is not kept.")
        await self._end(run, failure(Reason.LAUNCHER_LOST), self._closed(run, pump))

    def _closed(self, run: Run, pump: LogPump | None) -> Receipt:
        """Close a run's log and return its receipt; of a log that cannot be opened or closed, one that says so."""
        if pump is not None:
            with contained("log", f"run {run.run_id}: its log cannot be closed"):
                return pump.close()
        self._publisher.finish(run.run_id)
        return Receipt(gaps=(Gap(first=1, last=1, why="The log could not be kept: the archive refused it."),))

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
        except Exception:  # the archive has them as well, in almost every case
            report("start", "the runs that Redis has cannot be listed")
            return []
        return [run for run in runs if not run.status.terminal and is_run_id(run.run_id)]

    async def _clean(self) -> None:
        await self._forget_before(now() - timedelta(days=self._settings.RETENTION_DAYS))

    async def _forget_before(self, moment: datetime) -> None:
        runs, _ = await self._runs.find(RunQuery(per_page=_ALL))
        old = [run for run in runs if run.completed_at and run.completed_at < moment]
        for run in old:
            self._by_key.pop(run.idempotency_hash or "", None)
        left = await forget_before(moment, old, self._storage)
        await self._runs.delete_ended_before(moment)
        for run in left:  # for the next time
            await self._runs.put(run)


def _ask(end: asyncio.Future[Reason], reason: Reason) -> None:
    if not end.done():  # who asked first is why it ends
        end.set_result(reason)
