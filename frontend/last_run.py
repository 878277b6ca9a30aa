"""The newest run of a job, as far as a page knows it."""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = "unknown"
"""The status of a job whose newest run only the launcher knows, while the launcher does not say."""


class LastRun(NamedTuple):
    """The newest run of a job; both empty: none yet. Without a run_id but `unknown`: there may be one."""

    run_id: str = ""
    status: str = ""
