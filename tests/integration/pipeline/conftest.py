"""What the tests of the pipeline share with those that need no server."""

from __future__ import annotations

from launching.pipeline import run, sample_environment, samples, start

__all__ = ["run", "sample_environment", "samples", "start"]
