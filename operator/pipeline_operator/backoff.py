"""How long the operator waits before it retries an action."""

from __future__ import annotations

RETRY_SECONDS = 0.5
RETRY_MAX_SECONDS = 10.0
MAX_FAULTS = 5
"""An action is given up after this many unexpected exceptions in a row, which takes about 15 seconds."""


def backoff_seconds(faults: int) -> float:
    """Return the pause after this many faults in a row."""
    return min(RETRY_SECONDS * 2.0 ** min(faults, 10), RETRY_MAX_SECONDS)
