from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from launcher import recorder
from launching.harness import Harness, RunScenario, Scenario
from pipeline_operator import backoff


@pytest.fixture
def run_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunScenario:
    """Run a scenario with its own harness and short pauses; no wait in it is longer than a few seconds."""
    monkeypatch.setattr(backoff, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(recorder, "_DISK_FULL_RETRY_SECONDS", 0.01)

    def run(scenario: Scenario, **environ: str) -> None:
        async def with_harness() -> None:
            async with AsyncExitStack() as stack:
                harness = Harness(tmp_path, stack, **environ)
                stack.push_async_callback(harness.recording.publisher.stop)
                try:
                    await scenario(harness)
                finally:
                    if harness.task is not None:
                        await harness.kill()

        asyncio.run(with_harness())

    return run
