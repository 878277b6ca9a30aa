"""The image's Dockerfile matches the lock file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "pipeline-image/Dockerfile").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
LAUNCHER_DOCKERFILE = (ROOT / "launcher/Dockerfile").read_text()


def wanted(dockerfile: str) -> set[str]:
    return set(re.findall(r"wanted = !?/\^\(([^)]*)\)==/", dockerfile)[0].split("|"))


def test_base_image_matches_the_locked_playwright():
    assert f"playwright/python:v{LOCKED['playwright']}-" in DOCKERFILE


def test_installed_packages_are_locked_and_complete():
    names = wanted(DOCKERFILE)
    assert names <= LOCKED.keys()
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["pipeline"]
    assert {re.split("[><=]", each)[0] for each in extra} <= names


def test_launcher_image_lacks_pipeline_and_front_end_packages():
    left_out = wanted(LAUNCHER_DOCKERFILE)
    assert {"playwright", "greenlet", "lxml", "flask", "werkzeug"} <= left_out <= LOCKED.keys()
