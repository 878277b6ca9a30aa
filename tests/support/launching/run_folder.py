"""What tests of a run's folder share: a run, what they expect to read, and deep folders."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from launcher.artifacts import ArtifactFolder
from launcher.domain.runs import Run

AT = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)
RUN = Run(run_id="r", job_id="1", created_at=AT, updated_at=AT)
SECRET = "the launcher's own"
MAX_SECONDS = 5.0  # seconds; a lease would block for 45, a FIFO forever


def text_of(artifacts: ArtifactFolder, name: str, run: Run = RUN) -> bytes:
    async def read() -> bytes:
        file = await artifacts.open(run, name)
        try:
            return await file.read(0, 1000)
        finally:
            file.close()

    return asyncio.run(read())


def discovered(artifacts: ArtifactFolder, **wanted: str) -> dict[str, str]:
    return asyncio.run(artifacts.discover("r", wanted))


def excess(artifacts: ArtifactFolder) -> str:
    return asyncio.run(artifacts.excess("r"))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def make_deep(at: Path, levels: int, *, beside: bool = False) -> None:
    """Create nested folders, deeper than any path can reach. With `beside`, each also has a folder with a file."""
    current = os.open(at, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=current)
        if beside:
            os.mkdir("beside", dir_fd=current)
            os.close(os.open("beside/x", os.O_CREAT | os.O_WRONLY, dir_fd=current))
        deeper = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = deeper
    os.close(os.open("deepest.md", os.O_CREAT | os.O_WRONLY, dir_fd=current))
    os.close(current)
