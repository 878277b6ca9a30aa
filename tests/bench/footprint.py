"""What an idle installation uses: launcher, operator and Redis, by the node's figures for their containers."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

from launching.installation import Installation
from launching.release import Release
from servers.forwarding import Forwarder
from tests.bench.row import Row

SETTLE_SECONDS = 30.0
IDLE_SECONDS = 60.0
_STATS_SECONDS = 90.0
_GOAL_MB, _GOAL_PERCENT = 200, 2
_SERVICES = {"launcher", "operator", "redis"}
Stats = dict[str, dict[str, Any]]


def footprint(site: Installation, repeats: int) -> list[Row]:
    """Memory (working set) and processor share of the three services, installed from the chart and idle.

    The kubelet's own figures: https://kubernetes.io/docs/reference/instrumentation/node-metrics/#summary-api-source
    """
    port = int(str(site.launcher.environment["MONGODB_URI"]).split("/")[2].rpartition(":")[2])
    with (
        Forwarder(site.cluster.gateway, port) as mongo,
        Release(site.cluster, mongodb_uri=f"mongodb://{mongo.host}:{mongo.port}/", pipelines={}) as release,
    ):
        time.sleep(SETTLE_SECONDS)
        before = _stats(release)
        time.sleep(IDLE_SECONDS)
        after = _stats(release, newer_than=before)
    shares = {name: _percent(before[name], after[name]) for name in after}
    sizes = {name: each["memory"]["workingSetBytes"] / 1e6 for name, each in after.items()}
    return [
        _row("idle together, memory", sizes, "MB", _GOAL_MB),
        _row("idle together, processor", shares, "% of a core", _GOAL_PERCENT),
    ]


def _row(name: str, figures: dict[str, float], unit: str, goal: float) -> Row:
    detail = ", ".join(f"{each} {figure:.1f}" for each, figure in sorted(figures.items()))
    return Row(name=name, value=sum(figures.values()), unit=unit, detail=detail, goal=goal)


def _stats(release: Release, newer_than: Stats | None = None) -> Stats:
    """Return the containers' figures by name; the kubelet refreshes them several times a minute."""
    deadline = time.monotonic() + _STATS_SECONDS
    while True:
        found: Stats = {}
        for node in release.json("get", "nodes")["items"]:
            path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary"
            for pod in json.loads(release.cluster.kubectl("get", "--raw", path))["pods"]:
                if pod["podRef"]["namespace"] == release.namespace:
                    found |= {each["name"]: each for each in pod["containers"]}
        if found.keys() == _SERVICES and all(_is_newer(each, newer_than) for each in found.values()):
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"the kubelet has no new figures; found {sorted(found)}")
        time.sleep(1)


def _is_newer(container: dict[str, Any], older: Stats | None) -> bool:
    if "usageCoreNanoSeconds" not in container.get("cpu", {}):
        return False
    return older is None or _timestamp(container) > _timestamp(older[container["name"]])


def _percent(before: dict[str, Any], after: dict[str, Any]) -> float:
    spent = after["cpu"]["usageCoreNanoSeconds"] - before["cpu"]["usageCoreNanoSeconds"]
    return float(spent / 1e7 / (_timestamp(after) - _timestamp(before)).total_seconds())


def _timestamp(container: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(container["cpu"]["time"])
