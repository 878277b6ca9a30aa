"""What the launcher before this one left behind: its runs, and their processes."""

from __future__ import annotations

from pathlib import Path

from launcher.background import contained, report
from launcher.domain.errors import StoreUnavailable
from launcher.domain.names import is_run_id
from launcher.domain.runs import Run
from launcher.engines.marks import end_leftovers, marks_of
from launcher.stores.ports import RunQuery, RunStore
from launcher.wiring import Storage

_ALL = 1_000_000


async def known_runs(storage: Storage) -> list[Run]:
    """Return all runs, oldest first. Those that only Redis knows, as the archive was lost, are recorded again."""
    known = {run.run_id: run for run in storage.archive.runs()}
    for run in await _unfinished_in(storage.shared):
        if run.run_id not in known:
            known[run.run_id] = run
            with contained("start", f"run {run.run_id} of Redis cannot be recorded"):
                storage.recorder.record(run)
    return sorted(known.values(), key=lambda run: run.created_at)


async def end_processes(run_id: str, archive_dir: Path) -> None:
    """End the processes of a run that is no longer executed."""
    with contained("leftovers", f"run {run_id}: what is left of it cannot be stopped"):
        await end_leftovers(marks_of(run_id, archive_dir))


async def _unfinished_in(shared: RunStore | None) -> list[Run]:
    if shared is None:
        return []
    try:
        runs, _ = await shared.find(RunQuery(per_page=_ALL))
    except StoreUnavailable:
        return []
    except Exception:  # the archive has them too, in almost every case
        report("start", "the runs in Redis cannot be listed")
        return []
    return [run for run in runs if not run.status.terminal and is_run_id(run.run_id)]
