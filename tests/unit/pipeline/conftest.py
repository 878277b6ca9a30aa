"""Fixtures of the pipeline tests."""

from __future__ import annotations

from launching.pipeline import run, sample_environment, samples, start

__all__ = ["run", "sample_environment", "samples", "start"]
