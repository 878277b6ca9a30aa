"""Retention: what ended long ago is forgotten everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from launcher.domain.runs import Run
from launcher.storage import Storage


async def forget_before(moment: datetime, runs: Iterable[Run], storage: Storage) -> None:
    """Forget these runs, which ended before the moment: log, record, artifacts, and what the stores have."""
    for run in runs:
        storage.archive.delete(run.run_id)
        storage.artifacts.delete(run.run_id)
    for mirror in storage.recorder.mirrors:
        await mirror.store.delete_ended_before(moment)
