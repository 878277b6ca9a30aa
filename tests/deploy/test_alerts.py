"""The alert rules name metrics that exist, and the monitoring page explains every alert."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = (ROOT / "k8s/alerts.yaml").read_text()
PAGE = (ROOT / "docs/how-to/monitor.md").read_text()


def metrics() -> dict[str, str]:
    """Return the type of every metric of launcher and operator, by name."""
    found: dict[str, str] = {}
    for path in (*ROOT.glob("launcher/**/*.py"), *ROOT.glob("operator/**/*.py")):
        for kind, name in re.findall(r'\b(Counter|Gauge|Histogram)\(\s*"(slipway_\w+)"', path.read_text()):
            found[name] = kind
    return found


def test_rules_use_existing_metrics() -> None:
    known = metrics()
    series = set(known) | {f"{name}_bucket" for name, kind in known.items() if kind == "Histogram"}
    used = set(re.findall(r"\bslipway_\w+", RULES))
    assert used and used <= series


def test_the_page_explains_every_alert() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]}
    assert alerts == set(re.findall(r"`(Slipway[A-Z]\w+)`", PAGE))


def test_the_documentation_names_scripts_that_exist() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for name in set(re.findall(r"k8s/([\w-]+\.(?:sh|py|yaml))", page.read_text())):
            assert (ROOT / "k8s" / name).is_file(), f"{page}: {name}"
