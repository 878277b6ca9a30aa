"""What makes unit tests quick on a busy machine: no waiting for the disk, and no time limit for generated examples."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def disk_without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power, so nothing needs to be on the disk before a test goes on."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
