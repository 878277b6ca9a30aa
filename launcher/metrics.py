"""Metrics that both engines have."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

RUNS = Counter("slipway_runs_total", "Finished runs", ["pipeline", "status", "reason"])
ACTIVE = Gauge("slipway_active_runs", "Runs that hold a slot")
QUEUED = Gauge("slipway_queued_runs", "Waiting runs")
