"""Settings of all unit tests: they do not wait for the disk, and generated examples have no time limit."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def disk_without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power, so nothing needs to be on the disk before a test continues."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
