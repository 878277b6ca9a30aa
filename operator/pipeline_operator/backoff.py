"""How long the operator waits before it tries something again."""

from __future__ import annotations

RETRY_SECONDS = 0.5
RETRY_MAX_SECONDS = 10.0
MAX_FAULTS = 5
"""After so many unexpected exceptions in a row, about 15 seconds, an action is given up."""


def backoff_seconds(faults: int) -> float:
    """Return the pause after so many faults in a row."""
    return min(RETRY_SECONDS * 2.0 ** min(faults, 10), RETRY_MAX_SECONDS)
