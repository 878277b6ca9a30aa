"""Executes a run of the local engine: starts its processes, enforces its limits and returns its outcome."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from launcher.artifacts import ArtifactFolder
from launcher.background import suppress_and_report
from launcher.domain.outcomes import failure, outcome_of_process, with_excess
from launcher.domain.pipelines import run_environment
from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run, RunStatus
from launcher.engines.marks import marks_of
from launcher.engines.process import PipelineProcess
from launcher.settings import Settings

_WATCH_SECONDS = 2.0  # between two checks of the artifacts' size


class Execution:
    """Executes runs as child processes in the pipelines' folder, without the launcher's settings and secrets."""

    def __init__(self, settings: Settings, artifacts: ArtifactFolder, environ: Mapping[str, str]) -> None:
        self._settings, self._artifacts, self._environ = settings, artifacts, environ

    async def execute(
        self, run: Run, on_output: Callable[[bytes], Awaitable[None]], stop: asyncio.Future[Reason]
    ) -> Outcome:
        """Execute a run until it exits, exceeds a limit, or `stop` is set to a reason; return its outcome.

        `on_output` receives all output. When it returns, no process of the run is left.
        """
        pipeline = self._settings.pipelines.get(run.pipeline)
        if pipeline is None:
            return failure(Reason.CANNOT_START, detail=f"Pipeline {run.pipeline} is no longer configured.")
        marks = marks_of(run.run_id, self._settings.ARCHIVE_DIR)
        process = PipelineProcess(marks, on_output, self._settings.TERMINATION_GRACE_SECONDS)
        command = pipeline.command_for(run.job_id, run.profile_ref)
        try:
            await process.start(command, self._settings.PIPELINE_DIR, self._environment(run))
        except OSError as exc:
            return failure(Reason.CANNOT_START, detail=f"{command[0]}: {exc.strerror or exc}.")
        exited = asyncio.create_task(process.wait())
        try:
            stop_reason, excess = await self._watch(run, exited, stop)
        finally:
            await process.stop()  # the pipeline may have left processes behind
            await process.drain()
        outcome = outcome_of_process(await exited, stop_reason=stop_reason, timeout=run.timeout_seconds, detail=excess)
        if outcome.status is RunStatus.COMPLETED:  # it may have written more since the last check
            outcome = with_excess(outcome, await self._excess(run.run_id))
        return outcome

    async def _watch(
        self, run: Run, exited: asyncio.Task[int], stop: asyncio.Future[Reason]
    ) -> tuple[Reason | None, str]:
        """Wait until the run exits or must be stopped; return why it must be (None if it exited), and details."""
        too_large = asyncio.create_task(self._until_too_large(run.run_id))
        first: list[asyncio.Future[Any]] = [exited, stop, too_large]
        try:
            await asyncio.wait(first, timeout=run.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            too_large.cancel()
        if exited.done():
            return None, ""
        if stop.done():
            return stop.result(), ""
        if too_large.done():
            return Reason.ARTIFACTS_TOO_LARGE, too_large.result()
        return Reason.TIMED_OUT, ""

    async def _until_too_large(self, run_id: str) -> str:
        while not (excess := await self._excess(run_id)):
            await asyncio.sleep(_WATCH_SECONDS)
        return excess

    async def _excess(self, run_id: str) -> str:
        with suppress_and_report("artifacts", f"run {run_id}: cannot measure its artifacts"):
            return await self._artifacts.excess(run_id)
        return ""

    def _environment(self, run: Run) -> dict[str, str]:
        environment = self._settings.environment_for_pipeline(self._environ)
        python_folder = str(Path(sys.executable).parent)  # `python` in a command is the launcher's, with its packages
        environment["PATH"] = os.pathsep.join([python_folder, environment.get("PATH", os.defpath)])
        return environment | run_environment(run, applications=str(self._artifacts.make(run.run_id)))
