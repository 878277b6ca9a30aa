"""The chart and helm, for what is installed from it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from launching.service_process import ROOT

CHART = ROOT / "charts/slipway"
INSTALL = ROOT / "tests/support/chart/install"


@cache
def helm() -> Path:
    """Return the path of helm, which is built if necessary."""
    built = subprocess.run([INSTALL], check=True, capture_output=True, text=True, timeout=1200)
    return Path(built.stdout.strip()) / "helm"


def rendered(template: str, namespace: str, values: dict[str, Any]) -> str:
    """Return one template of the chart, rendered without a cluster."""
    command: list[str | Path] = [helm(), "template", "slipway", CHART, f"--namespace={namespace}"]
    command += ["--values=-", "--show-only", template]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, input=yaml.safe_dump(values))
    return str(done.stdout)
