"""The versions in k8s/versions.env."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "k8s/versions.env"
VERSIONS = dict(
    line.split("=", 1) for line in FILE.read_text().splitlines() if line.strip() and not line.startswith("#")
)
