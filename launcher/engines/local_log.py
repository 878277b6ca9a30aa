"""A run's log on the local engine: opens it, and closes it even if the disk fails."""

from __future__ import annotations

from launcher.background import suppress_and_report
from launcher.domain.log_lines import Receipt, unwritten_receipt
from launcher.domain.runs import Run
from launcher.logs.publisher import Publisher
from launcher.logs.pump import LogPump
from launcher.logs.sink import LogSink
from launcher.stores.archive import Archive


async def open_log(run: Run, archive: Archive, publisher: Publisher) -> LogSink:
    """Open a run's log. Raises `OSError`."""
    return await LogSink.open(archive, publisher, run, drop_on_error=True)


async def close_log(
    run_id: str, log: LogSink | LogPump | None, publisher: Publisher, note: str | None = None
) -> Receipt:
    """Close a run's log, with a note from Slipway as its last line, and return its receipt.

    If the log could not be opened or closed, the receipt has a gap.
    """
    if log is not None:
        with suppress_and_report("log", f"run {run_id}: cannot close its log"):
            return await log.close(note=note)
    publisher.finish(run_id)
    return unwritten_receipt()
