"""Recovers the runs of the previous launcher, and stops their processes."""

from __future__ import annotations

from pathlib import Path

from launcher.background import report_exception, suppress_and_report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.log_lines import Receipt
from launcher.domain.names import is_run_id
from launcher.domain.runs import Run
from launcher.engines.local_log import close_log, open_log
from launcher.engines.marks import kill_leftovers, marks_of
from launcher.logs.publisher import Publisher
from launcher.logs.sink import LogSink
from launcher.recorder import Recorder
from launcher.stores.archive import Archive
from launcher.stores.ports import RunQuery, RunStore
from launcher.wiring import Storage

LAUNCHER_STOPPED = "The launcher stopped here. The rest of the pipeline's output is not kept."
_ALL = 1_000_000


async def recover_runs(storage: Storage, recorder: Recorder) -> list[Run]:
    """Return all runs, oldest first. Runs that only Redis has, because the archive was lost, are recorded again."""
    runs = {run.run_id: run for run in storage.archive.runs()}
    for run in await _active_runs_in(storage.shared):
        if run.run_id not in runs:
            runs[run.run_id] = run
            with suppress_and_report("recovery", f"run {run.run_id}: cannot record it from Redis"):
                recorder.record(run)
    return sorted(runs.values(), key=lambda run: run.created_at)


async def close_lost_run(run: Run, archive: Archive, publisher: Publisher, archive_dir: Path) -> Receipt:
    """Stop the processes of a run whose launcher died, and close its log with a marker; return the receipt."""
    sink: LogSink | None = None
    await stop_processes(run.run_id, archive_dir)
    with suppress_and_report("recovery", f"run {run.run_id}: cannot open its log"):
        sink = await open_log(run, archive, publisher)
        await sink.gap(LAUNCHER_STOPPED)
    return await close_log(run.run_id, sink, publisher)


async def stop_processes(run_id: str, archive_dir: Path) -> None:
    """Stop the processes of a run that is no longer executed."""
    with suppress_and_report("process cleanup", f"run {run_id}: cannot stop its processes"):
        await kill_leftovers(marks_of(run_id, archive_dir))


async def _active_runs_in(shared: RunStore | None) -> list[Run]:
    if shared is None:
        return []
    try:
        runs, _ = await shared.find(RunQuery(per_page=_ALL))
    except StoreUnavailable:
        return []
    except Exception:  # the archive almost always has them too
        report_exception("recovery", "cannot list the runs in Redis")
        return []
    return [run for run in runs if not run.status.terminal and is_run_id(run.run_id)]
