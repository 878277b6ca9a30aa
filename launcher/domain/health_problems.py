"""The problems that health checks report, as sentences. `slipway doctor` uses the same ones, so it shows each once."""

from __future__ import annotations

STORE_DOWN = {
    "redis": "Redis does not answer. Runs and logs continue from the archive; Redis is updated when it returns.",
    "mongodb": "MongoDB does not answer. Runs continue; their records are written when it returns.",
}
KUBERNETES_DOWN = "Kubernetes does not answer. Active runs continue; new ones are refused until it returns."
OPERATOR_DOWN = "The operator does not answer. Active runs continue; queued ones start when it returns."
ENGINE_FAILED = "The engine does not answer."
ARCHIVE = {
    "full": "The archive's disk is full, so log lines and records are lost. Free some space, or lower RETENTION_DAYS.",
    "unreadable": "The archive cannot be read. Check the disk of ARCHIVE_DIR.",
}


def unreadable_records(count: int) -> str:
    """Return the problem of runs whose record cannot be read."""
    return f"The records of {count} runs cannot be read. The launcher's log lists them."


def lost_lines(count: int) -> str:
    """Return the problem of log lines that were lost since the launcher started."""
    return f"Log lines could not be written to disk: {count} since the launcher started. Free some space."
