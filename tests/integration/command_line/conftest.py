"""One launcher for all commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from launching.command_line import PIPELINES
from launching.launcher import Launcher


@pytest.fixture(scope="package")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("cli"), PIPELINES, MAX_CONCURRENCY="8") as running:
        yield running
