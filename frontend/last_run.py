"""The newest run of a job, as far as a page knows it."""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = "unknown"
"""The status of a run, or of a job that may have one, while the launcher does not say."""
_SETTLED = frozenset({"completed", "failed", "cancelled", UNKNOWN})


class LastRun(NamedTuple):
    """The newest run of a job; both empty: none yet. Without a run_id but `unknown`: there may be one."""

    run_id: str = ""
    status: str = ""

    def without_launcher(self) -> LastRun:
        """Return what can still be said of it while the launcher is silent: an end, as that never changes."""
        return self if self.status in _SETTLED else LastRun(self.run_id, UNKNOWN)
