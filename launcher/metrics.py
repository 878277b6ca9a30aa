"""Every metric of the launcher and the operator.

Both processes serve the metrics that are registered here. The others, with `registry=None`, are served only by the
process that passes them to `expose`, because alerts interpret a missing metric as a process that is down.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

RUNS = Counter("slipway_runs_total", "Finished runs", ["pipeline", "status", "reason"])
ACTIVE_RUNS = Gauge("slipway_active_runs", "Runs that hold a slot")
QUEUED_RUNS = Gauge("slipway_queued_runs", "Runs waiting for a slot")
LOG_LINES = Counter("slipway_log_lines_total", "Log lines written to the archive")
LOG_LINES_LOST = Counter("slipway_log_lines_lost_total", "Log lines lost to a disk error; each log marks the gap")
STORE_UP = Gauge("slipway_store_up", "1 while the store responds", ["store"])
REPAIRED = Counter("slipway_repaired_total", "Runs rewritten to a store that had missed an update", ["store"])
UNDELIVERABLE = Counter("slipway_undeliverable_total", "Run records that a store rejected for good", ["store"])
FAULTS = Counter("slipway_faults_total", "Unexpected exceptions that were handled, by activity", ["where"])

HTTP_SECONDS = Histogram(
    "slipway_http_seconds", "Seconds to the response's first byte", ["method", "route", "status"], registry=None
)
STREAM_VIEWERS = Gauge("slipway_stream_viewers", "Open log streams", registry=None)
OPERATOR_UP = Gauge("slipway_operator_up", "0 while the operator does not renew its Lease", registry=None)
LOG_REOPENED = Counter("slipway_log_reopened_total", "Pod logs reopened after an interruption", registry=None)
DRIFT = Counter(
    "slipway_drift_total",
    "Differences that a resync found and repaired",
    ["kind"],
    registry=None,
)

_exposed: set[Counter | Gauge | Histogram] = set()


def expose(*metrics: Counter | Gauge | Histogram) -> None:
    """Serve these metrics from this process's `/metrics`, starting at zero."""
    for metric in set(metrics) - _exposed:
        REGISTRY.register(metric)
    _exposed.update(metrics)
