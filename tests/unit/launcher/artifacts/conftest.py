"""The artifacts of one run, opened in each way that the module has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.artifacts import ArtifactFolder, safe_open
from launching.run_folder import SECRET


@pytest.fixture(params=["openat2", "components"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The folder of all runs, with that of `r`; both ways of opening give the same guarantees."""
    known = safe_open.kernel_resolves()
    if request.param == "openat2" and not known:
        pytest.skip("this kernel, or its sandbox, has no openat2")
    monkeypatch.setattr(safe_open, "kernel_resolves", lambda: request.param == "openat2")
    (tmp_path / "secret").write_text(SECRET)
    found = ArtifactFolder(tmp_path / "applications", max_files=1000)
    found.make("r")
    yield found
    asyncio.run(found.delete("r"))  # some are too deep for pytest to remove
    found.close()
