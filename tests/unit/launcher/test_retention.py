"""Retention: artifacts are deleted first, the record last, and a run that cannot be deleted blocks no other."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from launcher.artifacts import folder
from launcher.domain.errors import StoreUnavailable
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.retention import delete_before, delete_runs
from launcher.settings import SharedSettings
from launcher.stores.memory import InMemoryRunStore
from launcher.stores.watch import StoreWatch
from launcher.wiring import Storage, open_storage

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


def finished_run(storage: Storage, run_id: str) -> Run:
    """A finished run, with an artifact in a subfolder."""
    run = Run(run_id=run_id, job_id="1", created_at=AT, updated_at=AT).finished(
        failure(Reason.CANNOT_START), AT, Receipt()
    )
    storage.archive.put(run)
    (storage.artifacts.make(run_id) / "a").mkdir()
    (storage.artifacts.make(run_id) / "a/CV.md").touch()
    return run


@pytest.mark.parametrize("fault", ["time", "exception"])
def test_a_run_that_cannot_be_deleted_keeps_its_record_and_blocks_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    settings = SharedSettings.from_environment(
        {"ARCHIVE_DIR": f"{tmp_path}/archive", "APPLICATIONS_DIR": f"{tmp_path}/applications"}
    )

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            storage = open_storage(settings, stack)
            runs = [finished_run(storage, name) for name in ("1", "2", "3")]
            remove = folder.Removal.run

            def remove_or_fail(removal: folder.Removal) -> bool:
                if removal._name != "2":
                    return remove(removal)
                if fault == "exception":
                    raise RuntimeError("something unforeseen")
                removal._deadline = 0.0
                return remove(removal)

            monkeypatch.setattr(folder.Removal, "run", remove_or_fail)
            assert await delete_runs(runs, storage) == [runs[0], runs[2]]
            assert [run.run_id for run in storage.archive.runs()] == ["2"]
            assert [path.name for path in (tmp_path / "applications").iterdir()] == ["2"]
            monkeypatch.undo()
            assert await delete_runs(storage.archive.runs(), storage) == [runs[1]]
            assert not list(storage.archive.runs())
            assert not list((tmp_path / "applications").iterdir())

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [StoreUnavailable("down"), RuntimeError("something unforeseen")])
def test_a_store_that_cannot_be_cleaned_does_not_block_the_next_one(tmp_path: Path, fault: Exception) -> None:
    settings = SharedSettings.from_environment(
        {"ARCHIVE_DIR": f"{tmp_path}/archive", "APPLICATIONS_DIR": f"{tmp_path}/applications"}
    )

    class Faulty(InMemoryRunStore):
        async def delete_finished_before(self, moment: datetime) -> int:
            raise fault

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            storage, other = open_storage(settings, stack), InMemoryRunStore()
            watches = {"redis": StoreWatch("redis", Faulty()), "mongodb": StoreWatch("mongodb", other)}
            storage = replace(storage, watches=watches)
            run = finished_run(storage, "1")
            await other.put(run)
            retry = contextlib.nullcontext() if isinstance(fault, RuntimeError) else pytest.raises(StoreUnavailable)
            with retry:
                await delete_before(AT + timedelta(days=1), [run], storage)
            assert await other.get("1") is None
            assert not list(storage.archive.runs())

    asyncio.run(scenario())
