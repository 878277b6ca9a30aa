"""One launcher, and browsers that are signed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from launching.launcher import Launcher
from launching.pages import PIPELINES, browser_of


@pytest.fixture(scope="package")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("pages"), PIPELINES, MAX_CONCURRENCY="2") as running:
        yield running


@pytest.fixture
def browser(launcher: Launcher) -> FlaskClient:
    return browser_of(launcher.url, launcher.secret)


@pytest.fixture
def alone() -> FlaskClient:
    """A front end whose launcher is not running."""
    return browser_of("http://127.0.0.1:9", "s" * 32)
