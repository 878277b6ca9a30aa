"""A run's log on the local engine: opens it, and closes it even if the disk fails."""

from __future__ import annotations

from launcher.background import contained
from launcher.domain.log_lines import Gap, Receipt
from launcher.domain.runs import Run
from launcher.logs.pump import LogPump
from launcher.logs.sink import LogSink
from launcher.wiring import Storage


async def open_log(run: Run, storage: Storage) -> LogSink:
    """Open a run's log. Raises `OSError`."""
    return await LogSink.open(storage.archive, storage.publisher, run, drop_on_error=True)


async def close_log(run_id: str, log: LogSink | LogPump | None, storage: Storage) -> Receipt:
    """Close a run's log and return its receipt. If the log could not be opened or closed, the receipt has a gap."""
    if log is not None:
        with contained("log", f"run {run_id}: cannot close its log"):
            return await log.close()
    storage.publisher.finish(run_id)
    return Receipt(gaps=(Gap(first=1, last=1, why="The log could not be written to the archive."),))
