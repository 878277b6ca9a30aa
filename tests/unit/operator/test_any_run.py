"""A run on Kubernetes finishes once, whatever it leaves in its folder, prints, or Kubernetes reports about it."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.hostile import check_events, outputs, shapes
from launcher.api.schemas import view
from launcher.domain.runs import RunStatus
from launcher.logs.hub import FeedHub
from launching.harness import NAME, POD, Harness, ended, running, waiting
from launching.shapes import Entry, make

PIPELINES = "default:\n  command: [run]\n  artifacts: {cv_md_url: CV.md, report_url: '*.pdf', any_url: '*'}\n"


@settings(max_examples=40)
@given(shape=shapes, output=outputs, words=st.text(max_size=80), code=st.sampled_from([0, 1, 137, 255]))
def test_any_run_finishes_and_its_stream_ends(shape: list[Entry], output: bytes, words: str, code: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(execute(Path(folder), shape, output, words, code))


async def execute(folder: Path, shape: list[Entry], output: bytes, words: str, code: int) -> None:
    (folder / "pipelines.yaml").write_text(PIPELINES)
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        harness = Harness(folder, stack, PIPELINES_FILE=str(folder / "pipelines.yaml"))
        stack.push_async_callback(harness.recording.publisher.stop)
        harness.make_job()
        await harness.start()
        stack.push_async_callback(harness.kill)
        await harness.release()
        harness.put_pod(**waiting("ContainerCreating", words))
        harness.put_pod("Running", **running())
        harness.cluster.say_bytes(POD, *output.split(b"\n"))
        make(harness.storage.artifacts.make(NAME), shape)
        phase = "Failed" if code else "Succeeded"
        harness.put_pod(phase, message=words, reason=words[:20], **ended(code))
        run = await harness.end()
        if run.reason != "ArtifactsTooLarge":  # for example, because of a sparse file of a terabyte
            assert run.status is (RunStatus.FAILED if code else RunStatus.COMPLETED)
        assert run.exit_code == code
        check_events(await streamed(harness))
        assert await harness.storage.artifacts.delete(NAME)


async def streamed(harness: Harness) -> list[tuple[str, str, str]]:
    """Return the events of the run's stream, as a browser reads them."""

    async def read_status(run_id: str) -> dict[str, Any]:
        return view(harness.archived, None)

    hub = FeedHub(harness.storage.archive, harness.storage.tail, read_status)
    wire = b"".join([body async for body in hub.events(NAME, 0)]).decode()
    events = []
    for block in wire.split("\n\n")[:-1]:
        fields = [line.partition(":")[::2] for line in block.split("\n")]
        values = {name: text.removeprefix(" ") for name, text in fields if name in ("id", "event")}
        data = "\n".join(text.removeprefix(" ") for name, text in fields if name == "data")
        events.append((values.get("id", ""), values.get("event", "message"), data))
    return events
