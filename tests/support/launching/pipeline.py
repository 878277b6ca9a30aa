"""Fixtures that run the pipeline's script as a separate process, with the samples and a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

PIPELINE_IMAGE = Path(__file__).resolve().parents[3] / "pipeline-image"
SCRIPT = PIPELINE_IMAGE / "scripts" / "run_pipeline.py"
SAMPLES = PIPELINE_IMAGE / "samples"

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def samples() -> Path:
    return SAMPLES


@pytest.fixture
def sample_environment(tmp_path: Path) -> dict[str, str]:
    """Everything that a run with the samples needs, and nothing from the developer's environment."""
    return {
        "PATH": os.environ["PATH"],
        "MASTER_CV": str(SAMPLES / "master-cv.md"),
        "POSTINGS_DIR": str(SAMPLES / "postings"),
        "APPLICATIONS_DIR": str(tmp_path / "applications"),
    }


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the script as the launcher does, in its own folder."""

    def start_script(*arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(SCRIPT), *arguments],
            cwd=tmp_path,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    return start_script


@pytest.fixture
def run(start: Start) -> Run:
    """Run the script until it exits."""

    def run_script(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        with start(*arguments, environment=environment) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run_script
