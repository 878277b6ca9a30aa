"""The newest run of a job, as a page knows it."""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = "unknown"
"""The status of a run, or of a job that may have a run, while the launcher is unavailable."""
_STABLE = frozenset({"completed", "failed", "cancelled", UNKNOWN})


class LastRun(NamedTuple):
    """The newest run of a job. Both fields empty: no run yet. No run_id and `unknown`: there may be one."""

    run_id: str = ""
    status: str = ""

    def without_launcher(self) -> LastRun:
        """Return what is still certain while the launcher is unavailable: only a final status."""
        return self if self.status in _STABLE else LastRun(self.run_id, UNKNOWN)
