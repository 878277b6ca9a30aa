"""Retention: artifacts go first and the record last, and one run that stays keeps no other."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.artifacts import folder
from launcher.domain.log_lines import Receipt
from launcher.domain.outcomes import failure
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.retention import forget_before
from launcher.settings import SharedSettings
from launcher.wiring import Storage, open_storage

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


def ended(storage: Storage, run_id: str) -> Run:
    """A run that ended, with an artifact in a folder."""
    run = Run(run_id=run_id, job_id="1", created_at=AT, updated_at=AT).ended(
        failure(Reason.CANNOT_START), AT, Receipt()
    )
    storage.archive.put(run)
    (storage.artifacts.make(run_id) / "a").mkdir()
    (storage.artifacts.make(run_id) / "a/CV.md").touch()
    return run


@pytest.mark.parametrize("fault", ["time", "exception"])
def test_what_cannot_be_deleted_now_keeps_its_record_for_the_next_time_and_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    settings = SharedSettings.from_environment(
        {"ARCHIVE_DIR": f"{tmp_path}/archive", "APPLICATIONS_DIR": f"{tmp_path}/applications"}
    )

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            storage = open_storage(settings, stack)
            runs = [ended(storage, name) for name in ("1", "2", "3")]
            remove = folder.Removal.run

            def hindered(removal: folder.Removal) -> bool:
                if removal._name != "2":
                    return remove(removal)
                if fault == "exception":
                    raise RuntimeError("what nobody has thought of")
                removal._deadline = 0.0
                return remove(removal)

            monkeypatch.setattr(folder.Removal, "run", hindered)
            assert await forget_before(AT, runs, storage) == [runs[1]]
            assert [run.run_id for run in storage.archive.runs()] == ["2"]
            assert [path.name for path in (tmp_path / "applications").iterdir()] == ["2"]
            monkeypatch.undo()
            assert await forget_before(AT, storage.archive.runs(), storage) == []
            assert not list(storage.archive.runs())
            assert not list((tmp_path / "applications").iterdir())

    asyncio.run(scenario())
