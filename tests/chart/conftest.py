"""Fixtures: helm and other programs, and the rendered chart."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .schema import CHART

HERE = Path(__file__).parent
EVERYTHING = HERE / "everything.yaml"
INSTALL = HERE.parent / "support/chart/install"
Render = Callable[..., subprocess.CompletedProcess[str]]
Objects = dict[tuple[str, str], dict[str, Any]]


def run(*command: object, input: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program, whatever its exit code."""
    return subprocess.run(list(map(str, command)), input=input, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with helm and the other programs."""
    install = subprocess.run([INSTALL], check=True, capture_output=True, text=True, timeout=1800)
    return Path(install.stdout.strip())


@pytest.fixture(scope="session")
def render(programs: Path) -> Render:
    """Run `helm template` with `--set` values and values files."""

    def helm_template(values: str = "", *files: Path) -> subprocess.CompletedProcess[str]:
        words = ["template", "slipway", CHART, "--namespace=slipway", *(f"--values={file}" for file in files)]
        return run(programs / "helm", *words, "--set", values)

    return helm_template


@pytest.fixture(scope="session")
def objects(render: Render) -> Callable[..., Objects]:
    """Render the chart and return its objects by kind and name."""

    def rendered(values: str = "", *files: Path) -> Objects:
        done = render(values, *files)
        assert done.returncode == 0, done.stderr
        found = [each for each in yaml.safe_load_all(done.stdout) if each]
        return {(each["kind"], each["metadata"]["name"]): each for each in found}

    return rendered
