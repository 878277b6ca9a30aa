"""The image's Dockerfile agrees with what is locked."""

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


def test_the_playwright_image_has_the_browser_that_the_locked_playwright_wants():
    assert f"playwright/python:v{LOCKED['playwright']}-" in DOCKERFILE


def test_what_the_image_installs_is_locked_and_holds_what_the_pipeline_asks_for():
    names = wanted(DOCKERFILE)
    assert names <= LOCKED.keys()
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["pipeline"]
    assert {re.split("[><=]", each)[0] for each in extra} <= names


def test_what_only_the_pipeline_or_the_front_end_needs_is_not_in_the_launchers_image():
    left_out = wanted(LAUNCHER_DOCKERFILE)
    assert {"playwright", "greenlet", "lxml", "flask", "werkzeug"} <= left_out <= LOCKED.keys()
