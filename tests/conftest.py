"""What every test shares: the real servers, and an environment free of the developer's own settings."""

from __future__ import annotations

import pytest

from cluster.fixtures import cluster
from launcher.settings import Settings
from servers.fixtures import mongodb_server, mongodb_uri, redis_server, redis_url

__all__ = ["cluster", "mongodb_server", "mongodb_uri", "redis_server", "redis_url"]


@pytest.fixture(autouse=True)
def no_settings_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
