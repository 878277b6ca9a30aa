"""The image's Dockerfile against the pipeline's lock file."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "pipeline-image/Dockerfile").read_text()
LOCK = (ROOT / "requirements-pipeline.lock").read_text()


def test_the_playwright_image_has_the_browser_of_the_locked_playwright() -> None:
    version = re.search(r"^playwright==(\S+)", LOCK, re.MULTILINE)
    assert version and f"playwright/python:v{version[1]}-" in DOCKERFILE
